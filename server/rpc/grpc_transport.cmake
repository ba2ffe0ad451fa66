# The real gRPC side of transport.h. Apart from server.cc and main.cc nothing else in the server sees gRPC.
kldiv_library(kldiv_grpc_transport
              SOURCES rpc/grpc_call.cc rpc/grpc_credentials.cc rpc/grpc_endpoint.cc rpc/grpc_message.cc
                      rpc/grpc_reflection.cc rpc/grpc_transport.cc rpc/grpc_header_limit.cc
              DEPS kldiv_base kldiv_call_notes kldiv_security kldiv_wire gRPC::grpc++ gRPC::grpc++_reflection absl::status absl::statusor
                   absl::strings absl::inlined_vector
              PRIVATE_DEPS kldiv_observability kldiv_proto absl::flat_hash_map absl::synchronization)
if(KLDIV_STATIC)
  # What stands before a function of gRPC has to be in another library than it.
  target_compile_definitions(kldiv_grpc_transport PRIVATE KLDIV_STATIC)
endif()
