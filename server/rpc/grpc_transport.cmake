# The real gRPC side of transport.h. Apart from server.cc and main.cc nothing else in the server sees gRPC.
kldiv_library(kldiv_grpc_transport SOURCES rpc/grpc_call.cc rpc/grpc_message.cc rpc/grpc_transport.cc
              DEPS kldiv_base kldiv_wire gRPC::grpc++ absl::status absl::strings absl::inlined_vector)
