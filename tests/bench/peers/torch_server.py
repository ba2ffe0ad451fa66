#!/usr/bin/python3
"""Evaluate by PyTorch's kl_div."""

import warnings

import grpc_server
import torch

# Tensors over received bytes are read-only, which PyTorch warns of and kl_div does not mind.
warnings.filterwarnings("ignore", message=".*not writ")


def evaluate(x, t):
    return torch.nn.functional.kl_div(torch.from_numpy(x), torch.from_numpy(t), reduction="sum")


if __name__ == "__main__":
    grpc_server.serve(evaluate, "127.0.0.1:0")
