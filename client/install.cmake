# What `cmake --install` gives: the programs, the C++ library as one archive with the parts of the project that it
# needs, its header, its CMake package and pkg-config file, and the proto file.
include(CMakePackageConfigHelpers)

add_library(kldiv_client_package STATIC $<TARGET_OBJECTS:kldiv_client> $<TARGET_OBJECTS:kldiv_wire>
                                        $<TARGET_OBJECTS:kldiv_proto>)
target_link_libraries(kldiv_client_package PUBLIC absl::status absl::statusor gRPC::grpc++ protobuf::libprotobuf
                                                  absl::cord absl::inlined_vector absl::strings)
target_compile_features(kldiv_client_package INTERFACE cxx_std_20)
target_include_directories(kldiv_client_package INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
set_target_properties(kldiv_client_package PROPERTIES EXPORT_NAME client OUTPUT_NAME kldiv_client LINKER_LANGUAGE CXX
                      ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/package)

set(KLDIV_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/kldiv)
install(TARGETS kldiv_client_package EXPORT kldivTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT kldivTargets NAMESPACE kldiv:: DESTINATION ${KLDIV_CMAKE_DIR})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/kldivConfig.cmake.in
                              ${CMAKE_CURRENT_BINARY_DIR}/kldivConfig.cmake INSTALL_DESTINATION ${KLDIV_CMAKE_DIR})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/kldivConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/kldivConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/kldivConfigVersion.cmake
        DESTINATION ${KLDIV_CMAKE_DIR})

# The file finds its prefix from its own place, so that the tree may be moved.
file(RELATIVE_PATH KLDIV_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/kldiv.pc.in ${CMAKE_CURRENT_BINARY_DIR}/kldiv.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/kldiv.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/include/kldiv DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_SOURCE_DIR}/proto/kldiv/v1/kldiv.proto DESTINATION ${CMAKE_INSTALL_DATADIR}/kldiv/proto/kldiv/v1)
install(TARGETS kldiv kldiv-load RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET kldiv-server)
  install(TARGETS kldiv-server RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
