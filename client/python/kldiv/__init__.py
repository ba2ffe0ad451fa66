"""Client of kldiv, a gRPC server for the Kullback-Leibler divergence as torch.nn.KLDivLoss defines it.

    with kldiv.Client("127.0.0.1:50051") as client:
        loss = client.kl_div(log_probabilities, probabilities, reduction="batchmean")
"""

import pkgutil

# Stubs that a program generates itself are named kldiv.v1.kldiv_pb2: they may lie anywhere on its path.
__path__ = pkgutil.extend_path(__path__, __name__)

from kldiv._channel import Error as Error
from kldiv._channel import (Cancelled, DeadlineExceeded, Internal, InvalidArgument, ResourceExhausted,
                            Unauthenticated, Unavailable, Unimplemented)
from kldiv._tensors import Pair, Reduction, ZeroTarget
from kldiv.client import Client, ServerInfo

__all__ = ["Cancelled", "Client", "DeadlineExceeded", "Error", "Internal", "InvalidArgument", "Pair", "Reduction",
           "ResourceExhausted", "ServerInfo", "Unauthenticated", "Unavailable", "Unimplemented", "ZeroTarget"]
