"""The client."""

from __future__ import annotations

import pathlib
import time
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Callable, Iterable, Iterator, Literal, TypeVar, overload

import grpc

from kldiv import _channel, _messages, _stream, _tensors
from kldiv._tensors import Pair, Reduction, ZeroTarget

Array = TypeVar("Array")
_ALWAYS_ALLOWED_BYTES = 1 << 20  # no server is asked for its limit before such a message


@dataclass(frozen=True)
class ServerInfo:
    """What a server is and which limits it has; sizes in bytes. As GetServerInfoResponse in kldiv.proto."""

    version: str
    backend: str
    devices: tuple[str, ...]
    max_message_bytes: int
    max_queue_bytes: int
    numerics_version: int
    max_pairs_per_message: int
    max_dimensions: int
    max_in_flight_per_stream: int
    features: tuple[str, ...]


class _Deadline:
    """So many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + _tensors.nanoseconds(seconds) / 1e9

    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())


def _serialized(message: Any) -> bytes:
    try:
        data: bytes = message.SerializeToString()
    except ValueError as too_large:  # protobuf's own limit, 2 GiB
        raise _channel.error(grpc.StatusCode.INVALID_ARGUMENT, str(too_large)) from None
    return data


def _result(response: Any, kind_of: Any) -> Any:
    try:
        return _tensors.result(response, kind_of)
    except ValueError as wrong:
        raise _channel.error(grpc.StatusCode.INTERNAL, str(wrong)) from None


def _outcome(answer: Any, kind_of: Any) -> Any:
    """What became of one pair of a batch or a stream."""
    if answer.HasField("response"):
        return _result(answer.response, kind_of)
    return _channel.error_of_pair(answer.error)


class Client:
    """A connection to a kldiv server. May be used by many threads at a time; close it, or use it in a `with`.

    address: "host:port", "[v6]:port" or "unix:/path"; with "dns:///name:port" or "ipv4:a:port,b:port" calls take turns
        on all servers that say that they are serving.
    timeout: seconds for a call, where the call names none.
    retry: try again, within the call's time and at most five times in all, what a server sheds or cannot answer
        because it goes (UNAVAILABLE, RESOURCE_EXHAUSTED, CANCELLED), and not while too much fails.
    tls: encrypt. server_ca, client_cert, client_key: PEM files with the authorities that the server's certificate
        must lead to (else the system's), the client's own certificate chain, and its private key.
    token, token_file: sent with every call as `authorization: Bearer TOKEN`; the file is read at every call, so that
        it can be replaced. Without tls a token goes to this machine's addresses alone, unless allow_plaintext_tokens.

    Every call raises a kldiv.Error with the server's code and text, TypeError for an array that cannot be sent, and
    ValueError for other arguments. OSError: a file cannot be read.
    """

    def __init__(self, address: str = "127.0.0.1:50051", *, timeout: float = 30.0, retry: bool = True,
                 tls: bool = False, server_ca: _channel.Path | None = None, client_cert: _channel.Path | None = None,
                 client_key: _channel.Path | None = None, token: str | None = None,
                 token_file: _channel.Path | None = None, allow_plaintext_tokens: bool = False) -> None:
        if token is not None and token_file is not None:
            raise ValueError("token and token_file are both given")
        has_token = token is not None or token_file is not None
        if has_token and not (tls or allow_plaintext_tokens or _channel.is_local(address)):
            raise ValueError("a token would be sent in plaintext; expected tls=True or allow_plaintext_tokens=True")
        _tensors.nanoseconds(timeout)
        self._timeout, self._retry = timeout, retry
        self._token, self._token_file = token, token_file
        credentials = _channel.tls_credentials(tls, server_ca, client_cert, client_key)
        self._channel = _channel.open_channel(address, retry, credentials)
        self._max_message_bytes: int | None = None
        unary, stream = self._channel.unary_unary, self._channel.stream_stream
        self._evaluate = self._method(unary, "Evaluate", _messages.EvaluateResponse)
        self._evaluate_batch = self._method(unary, "EvaluateBatch", _messages.EvaluateBatchResponse)
        self._evaluate_stream = self._method(stream, "EvaluateStream", _messages.EvaluateResult)
        self._get_server_info = self._method(unary, "GetServerInfo", _messages.GetServerInfoResponse)

    @overload
    def kl_div(self, input: Array, target: Any, reduction: Literal["none"], log_target: bool = ...,
               zero_target: ZeroTarget = ..., timeout: float | None = ...) -> Array: ...

    @overload
    def kl_div(self, input: Any, target: Any, reduction: Literal["mean", "batchmean", "sum"] = ...,
               log_target: bool = ..., zero_target: ZeroTarget = ..., timeout: float | None = ...) -> float: ...

    def kl_div(self, input: Any, target: Any, reduction: Reduction = "mean", log_target: bool = False,
               zero_target: ZeroTarget = "torch", timeout: float | None = None) -> Any:
        """The loss of torch.nn.functional.kl_div, in nats, computed in binary64.

        input, target: NumPy arrays of float16, float32 or float64 in any byte order and layout, or PyTorch tensors on
            the CPU of these or bfloat16, with 0 to 64 dimensions. Their shapes are equal (nothing is broadcast), their
            types may differ. input holds log-probabilities; target probabilities, or with log_target their logarithms.
        reduction: "mean" divides the sum by the number of elements, "batchmean" by shape[0] (which is the mean
            divergence of a batch of distributions), "sum" by nothing.
        zero_target: "skip" makes an element whose target is 0 count 0 even where input is -inf, which "torch" gives
            NaN.
        timeout: seconds; None: the client's.

        Returns a float; with "none" every element's loss, as an array of input's kind, its type the one to which
        PyTorch promotes the two (without a gradient).
        """
        pair = Pair(input, target, reduction, log_target, zero_target)
        response = self._call(self._evaluate, _tensors.request(pair), timeout)
        return _result(response, input)

    def kl_div_batch(self, pairs: Iterable[Pair], timeout: float | None = None) -> list[Any]:
        """Evaluates many pairs in one message: kl_div's results, in the order of the pairs.

        A pair's own fault harms no other: its result is then a kldiv.Error, which is not raised. A pair's own timeout
        is the call's where it names none.
        """
        pairs = list(pairs)
        message = _messages.EvaluateBatchRequest(
            requests=[_tensors.request(pair, number, pair.timeout) for number, pair in enumerate(pairs)])
        results = self._call(self._evaluate_batch, message, timeout).results
        if len(results) != len(pairs):
            raise _channel.error(grpc.StatusCode.INTERNAL, f"{len(results)} results for {len(pairs)} pairs")
        return [_outcome(answer, pair.input) for answer, pair in zip(results, pairs)]

    def kl_div_stream(self, pairs: Iterable[Pair], timeout: float | None = None) -> Iterator[tuple[int, Any]]:
        """Evaluates pairs as they come, many at a time. Yields (number of the pair, from 0, and its result), in the
        order in which they are ready; a pair's own fault is its result, as in kl_div_batch.

        `pairs` is drawn from by another thread, as fast as the server takes them; it may wait for results. An
        exception of it, a TypeError or a ValueError is raised here when the pairs before have been answered. When the
        server goes, pairs without a result are sent again on another stream. timeout: seconds for all of it; None: no
        limit, while a pair that names no timeout has the client's.
        """
        deadline = None if timeout is None else _Deadline(timeout)

        def encode(pair: Pair, number: int) -> tuple[bytes, float]:
            own = self._timeout if pair.timeout is None else pair.timeout
            message = _serialized(_tensors.request(pair, number, own))
            self._check_size(len(message), self._timeout)
            return message, own

        def call(messages: Iterator[bytes]) -> Any:
            left = None if deadline is None else deadline.left()
            return self._evaluate_stream(messages, timeout=left, metadata=self._metadata())

        def pause(seconds: float) -> None:
            time.sleep(min(seconds, self._timeout if deadline is None else deadline.left()))

        return _stream.answers(pairs, encode, _outcome, call, pause if self._retry else None)

    def server_info(self, timeout: float | None = None) -> ServerInfo:
        """What the server is and which limits it has."""
        deadline = _Deadline(self._timeout if timeout is None else timeout)
        info = self._send(self._get_server_info, b"", deadline.left())
        self._max_message_bytes = info.max_message_bytes
        facts: dict[str, Any] = {field.name: getattr(info, field.name) for field in fields(ServerInfo)}
        facts.update(devices=tuple(info.devices), features=tuple(info.features))
        return ServerInfo(**facts)

    def close(self) -> None:
        """Ends the connection; calls that are not answered are cancelled."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def _method(self, make: Callable[..., Any], name: str, response: Any) -> Any:
        return make(f"/kldiv.v1.KlDivergence/{name}", request_serializer=None,
                    response_deserializer=response.FromString)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._token
        if self._token_file is not None:
            token = pathlib.Path(self._token_file).read_text().strip()
        return () if token is None else (("authorization", f"Bearer {token}"),)

    def _call(self, method: Any, message: Any, timeout: float | None) -> Any:
        deadline = _Deadline(self._timeout if timeout is None else timeout)
        data = _serialized(message)
        self._check_size(len(data), deadline.left())
        return self._send(method, data, deadline.left())

    def _send(self, method: Any, data: bytes, timeout: float) -> Any:
        try:
            return method(data, timeout=timeout, metadata=self._metadata())
        except grpc.RpcError as failure:
            raise _channel.error_of_call(failure) from None

    def _check_size(self, size: int, timeout: float) -> None:
        """Refuses what the server would, before it is sent; asks the server for its limit once."""
        if size <= _ALWAYS_ALLOWED_BYTES:
            return
        limit = self._max_message_bytes
        if limit is None:
            limit = self.server_info(timeout).max_message_bytes
        if 0 < limit < size:
            raise _channel.error(grpc.StatusCode.INVALID_ARGUMENT, f"the message has {size} bytes, the server takes "
                                 f"at most {limit} (its flag --max_message_bytes)")
