"""Pairs from an iterator over one stream after the other, until each has its answer."""

from __future__ import annotations

import collections
import threading
import time
from typing import Any, Callable, Iterable, Iterator

import grpc

from kldiv import _channel
from kldiv._tensors import Pair

Encode = Callable[[Pair, int], "tuple[bytes, float]"]  # to the message and the pair's own timeout in seconds


class _Unanswered:
    """A pair without a result. Its bytes are kept for another session."""

    def __init__(self, pair: Pair, message: bytes, deadline: float) -> None:
        self.input, self.message, self.deadline = pair.input, message, deadline


class _Feed:
    """Draws the caller's pairs, on a thread of its own, one ahead of what the session of the moment has sent.

    The iterator may wait, for an answer even: so neither gRPC's threads nor whoever reads may wait for it.
    """

    def __init__(self, pairs: Iterable[Pair], encode: Encode) -> None:
        self._changed = threading.Condition()
        self._drawn: tuple[int, _Unanswered] | None = None
        self._unanswered: dict[int, _Unanswered] = {}  # in the order of sending
        self._to_resend: collections.deque[int] = collections.deque()
        self._session = 0
        self._exhausted = self._closed = False
        self.error: BaseException | None = None  # what ended the iterator before its time
        threading.Thread(target=self._draw, args=(pairs, encode), name="kldiv-pairs", daemon=True).start()

    def _draw(self, pairs: Iterable[Pair], encode: Encode) -> None:
        try:
            for number, pair in enumerate(pairs):
                message, timeout = encode(pair, number)
                entry = _Unanswered(pair, message, time.monotonic() + timeout)
                with self._changed:
                    self._changed.wait_for(lambda: self._drawn is None or self._closed)
                    if self._closed:
                        return
                    self._drawn = number, entry
                    self._changed.notify_all()
        except BaseException as failure:  # raised again where the answers are read
            self.error = failure
        finally:
            with self._changed:
                self._exhausted = True
                self._changed.notify_all()

    def wait_for_work(self) -> bool:
        """Waits until there is a pair to send or to send again; False: there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._unanswered or self._drawn or self._exhausted)
            return bool(self._unanswered or self._drawn)

    def is_complete(self) -> bool:
        with self._changed:
            return self._exhausted and not self._unanswered and not self._drawn

    def expired(self) -> list[int]:
        """Takes those pairs whose own time is over from the unanswered ones."""
        now = time.monotonic()
        with self._changed:
            numbers = [number for number, pair in self._unanswered.items() if pair.deadline <= now]
            for number in numbers:
                del self._unanswered[number]
        return numbers

    def messages(self) -> Iterator[bytes]:
        """What a new session sends: first what the one before, which ends with this, has left unanswered."""
        with self._changed:
            self._session += 1
            self._to_resend = collections.deque(self._unanswered)
            self._changed.notify_all()
            return self._messages(self._session)

    def _messages(self, session: int) -> Iterator[bytes]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: session != self._session or self._to_resend or self._drawn
                                       or self._exhausted)
                if session != self._session:
                    return
                if self._to_resend:
                    number = self._to_resend.popleft()
                elif self._drawn:
                    number, self._unanswered[self._drawn[0]] = self._drawn
                    self._drawn = None
                    self._changed.notify_all()
                else:
                    return
                message = self._unanswered[number].message
            yield message

    def answered(self, number: int) -> Any:
        """The input of a pair that now has its answer; KeyError: it had one, or does not exist."""
        with self._changed:
            return self._unanswered.pop(number).input

    def close(self) -> None:
        with self._changed:
            self._closed, self._session = True, -1
            self._changed.notify_all()


def answers(pairs: Iterable[Pair], encode: Encode, decode: Callable[[Any, Any], Any],
            call: Callable[[Iterator[bytes]], Any], pause: Callable[[float], None] | None) -> Iterator[tuple[int, Any]]:
    """Yields each pair's number and answer. `decode` takes an EvaluateResult and the pair's input; `call` starts a
    session with what it is to send; `pause` waits so many seconds before another session, None: there is none."""
    feed = _Feed(pairs, encode)
    failures = 0
    session = None
    try:
        while feed.wait_for_work():
            for number in feed.expired():
                yield number, _channel.error(grpc.StatusCode.DEADLINE_EXCEEDED,
                                             "the pair's time was over before it could be sent again")
            session = call(feed.messages())
            try:
                for answer in session:
                    try:
                        kind_of = feed.answered(answer.request_id)
                    except KeyError:
                        raise _channel.error(grpc.StatusCode.INTERNAL, f"the server's answer has request_id "
                                             f"{answer.request_id}, which is no unanswered pair's") from None
                    failures = 0
                    yield answer.request_id, decode(answer, kind_of)
                if not feed.is_complete():
                    raise _channel.error(grpc.StatusCode.INTERNAL, "the server ended the stream with pairs unanswered")
            except grpc.RpcError as ended:
                failure = _channel.error_of_call(ended)
                if isinstance(failure, _channel.Unavailable) and failure.message.startswith("idle"):
                    continue  # The server had too many idle streams: nothing is wrong.
                failures += 1
                if pause is None or not _channel.is_retryable(failure) or failures >= _channel.MAX_ATTEMPTS:
                    raise failure from ended
                pause(_channel.pause_before_retry(failure, failures))
        if feed.error is not None:
            raise feed.error
    finally:
        feed.close()
        if session is not None:
            session.cancel()
