"""What a caller's type checker sees; it is checked, not run."""

from typing import Any

import numpy
from numpy.typing import NDArray

import kldiv


def use(client: kldiv.Client, x: NDArray[numpy.float32]) -> None:
    loss: float = client.kl_div(x, x)
    summed: float = client.kl_div(x, x, "sum", log_target=True, zero_target="skip", timeout=1.5)
    pointwise: NDArray[numpy.float32] = client.kl_div(x, x, reduction="none")
    results: list[Any] = client.kl_div_batch([kldiv.Pair(x, x, "batchmean")])
    for number, result in client.kl_div_stream(iter([kldiv.Pair(x, x)])):
        print(loss, summed, pointwise, results, number + 1, result)
    try:
        print(client.server_info().max_message_bytes + 1)
    except kldiv.Unavailable as error:
        print(error.code, error.message.upper(), error.retry_after)
    client.kl_div(x, x, "max")  # type: ignore[call-overload]
