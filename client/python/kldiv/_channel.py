"""How a server is reached, and how its statuses become exceptions."""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
from typing import Any, Union

import grpc

Path = Union[str, "os.PathLike[str]"]

MAX_ATTEMPTS = 5  # of a call, as many as gRPC allows; of a stream: sessions in a row without an answer
_FIRST_PAUSE, _MAX_PAUSE = 0.05, 1.0  # seconds between them, where the server asks for none
_RETRYABLE = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED")
_SERVICE = "kldiv.v1.KlDivergence"
_RETRIED_METHODS = ("Evaluate", "EvaluateBatch", "GetServerInfo")
_LOCAL = re.compile(r"unix:.*|(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?")
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Error(Exception):
    """A call, or one of its pairs, that did not succeed. The subclass tells the code; codes without one are Error.

    code: grpc.StatusCode; message: the server's text; retry_after: seconds after which the server asks to be tried
    again, else None.
    """

    def __init__(self, code: grpc.StatusCode, message: str, retry_after: float | None = None) -> None:
        super().__init__(code, message, retry_after)
        self.code, self.message, self.retry_after = code, message, retry_after

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


class InvalidArgument(Error):
    """What was asked makes no sense: shapes differ, too many dimensions, a message beyond the server's limit."""


class ResourceExhausted(Error):
    """The server is full just now."""


class Unavailable(Error):
    """There is no server, or it is draining."""


class DeadlineExceeded(Error):
    """The timeout passed before there was an answer."""


class Cancelled(Error):
    """The call was given up, by this side or by a server that was shut down."""


class Unauthenticated(Error):
    """The token is missing or wrong."""


class Unimplemented(Error):
    """The server is something else than kldiv, or another version."""


class Internal(Error):
    """The server, or what is between, is at fault."""


_CLASSES = {grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument, grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
            grpc.StatusCode.UNAVAILABLE: Unavailable, grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
            grpc.StatusCode.CANCELLED: Cancelled, grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
            grpc.StatusCode.UNIMPLEMENTED: Unimplemented, grpc.StatusCode.INTERNAL: Internal}


def error(code: grpc.StatusCode, message: str, retry_after_ms: int = 0) -> Error:
    return _CLASSES.get(code, Error)(code, message, retry_after_ms / 1e3 if retry_after_ms > 0 else None)


def error_of_pair(message: Any) -> Error:
    """The kldiv.v1.Error of a pair in a batch or on a stream."""
    return error(_CODES.get(message.code, grpc.StatusCode.UNKNOWN), message.message, message.retry_after_ms)


def error_of_call(call: grpc.RpcError) -> Error:
    trailers = {key: value for key, value in call.trailing_metadata() or ()}
    pushback = trailers.get("grpc-retry-pushback-ms", "")
    return error(call.code(), call.details() or "", int(pushback) if pushback.isdigit() else 0)


def is_retryable(failure: Error) -> bool:
    return failure.code.name in _RETRYABLE


def pause_before_retry(failure: Error, failures: int) -> float:
    """Seconds before the attempt that follows so many failures in a row: gRPC's own rule."""
    if failure.retry_after is not None:
        return failure.retry_after
    return random.uniform(0, min(_FIRST_PAUSE * 2 ** (failures - 1), _MAX_PAUSE))


def service_config(retry: bool, balance: bool) -> str:
    """gRPC's, as the C++ client has it: unary calls are tried again, and take turns on the servers that are serving.

    The throttle keeps a server in trouble from being sent several times its load.
    """
    config: dict[str, Any] = {}
    if retry:
        policy = {"maxAttempts": MAX_ATTEMPTS, "initialBackoff": f"{_FIRST_PAUSE:g}s", "maxBackoff": f"{_MAX_PAUSE:g}s",
                  "backoffMultiplier": 2, "retryableStatusCodes": _RETRYABLE}
        names = [{"service": _SERVICE, "method": method} for method in _RETRIED_METHODS]
        config["methodConfig"] = [{"name": names, "retryPolicy": policy}]
        config["retryThrottling"] = {"maxTokens": 1000, "tokenRatio": 0.1}
    if balance:
        config["loadBalancingConfig"] = [{"round_robin": {}}]
        config["healthCheckConfig"] = {"serviceName": _SERVICE}
    return json.dumps(config)


def is_local(address: str) -> bool:
    """Whether every server that it names is on this machine."""
    return all(_LOCAL.fullmatch(server) for server in re.sub("^ipv[46]:", "", address).split(","))


def open_channel(address: str, retry: bool, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    names_several = address.startswith(("dns:", "ipv4:", "ipv6:"))
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", -1),  # an answer of pointwise losses is as large as the request
        ("grpc.max_send_message_length", -1),     # the server's limit is checked here, with a better text
        ("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.max_pings_without_data", 0),  # else the pings stop after two
        ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
        ("grpc.use_local_subchannel_pool", 1),     # a connection for each client, which ends with it
        ("grpc.enable_retries", int(retry)), ("grpc.service_config", service_config(retry, names_several)),
        ("grpc.per_rpc_retry_buffer_size", 2**31 - 1)]  # else no message over 256 KiB is tried again
    if is_local(address):
        options.append(("grpc.enable_http_proxy", 0))
    if credentials is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, credentials, options=options)


def tls_credentials(tls: bool, server_ca: Path | None, client_cert: Path | None,
                    client_key: Path | None) -> grpc.ChannelCredentials | None:
    if not tls:
        if server_ca or client_cert or client_key:
            raise ValueError("server_ca, client_cert and client_key need tls=True")
        return None
    if bool(client_cert) != bool(client_key):
        raise ValueError("client_cert and client_key are given together or not at all")
    ca, key, cert = (pathlib.Path(file).read_bytes() if file else None for file in (server_ca, client_key, client_cert))
    return grpc.ssl_channel_credentials(ca, key, cert)
