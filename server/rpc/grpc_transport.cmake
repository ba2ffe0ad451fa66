# The real gRPC side of transport.h. Apart from server.cc and main.cc nothing else in the server sees gRPC.
kldiv_library(kldiv_grpc_transport
              SOURCES rpc/grpc_call.cc rpc/grpc_credentials.cc rpc/grpc_endpoint.cc rpc/grpc_message.cc
                      rpc/grpc_reflection.cc rpc/grpc_transport.cc rpc/grpc_frame_limits.cc
              DEPS kldiv_base kldiv_call_notes kldiv_security kldiv_wire gRPC::grpc++ gRPC::grpc++_reflection absl::status absl::statusor
                   absl::strings absl::inlined_vector
              PRIVATE_DEPS kldiv_observability kldiv_proto absl::flat_hash_map absl::synchronization)
if(KLDIV_STATIC)
  target_compile_definitions(kldiv_grpc_transport PRIVATE KLDIV_STATIC)
  # What grpc_frame_limits.cc stands before.
  set(parse P21grpc_chttp2_transportP18grpc_chttp2_streamRK10grpc_slicei)
  target_link_options(kldiv_grpc_transport INTERFACE
    LINKER:--wrap=_Z31grpc_chttp2_header_parser_parsePv${parse}
    LINKER:--wrap=_Z35grpc_chttp2_rst_stream_parser_parsePv${parse}
    LINKER:--wrap=_ZN9grpc_core11HPackParser10BeginFrameEP19grpc_metadata_batchjNS0_8BoundaryENS0_8PriorityENS0_7LogInfoE
    LINKER:--wrap=_ZN9grpc_core11HPackParserD1Ev
    LINKER:--wrap=_Z27grpc_chttp2_stream_map_sizeP22grpc_chttp2_stream_map)
endif()
