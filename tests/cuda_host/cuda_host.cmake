# CUDA code on the CPU, by any host compiler. Includes once for the whole tree: the target kldiv_cuda_host (declared in
# this folder's CMakeLists.txt) and
#
#   kldiv_cuda_host_sources(TARGET FILES...)   adds .cu files to a target, compiled as C++ and executed on the CPU
#
# KLDIV_CUDA_HOST_FOUND says whether both can be used: they need the CUDA toolkit's headers and Boost.Context.
include_guard(GLOBAL)

find_program(KLDIV_NVCC nvcc PATHS /usr/local/cuda/bin DOC "CUDA compiler")
if(KLDIV_NVCC)
  file(REAL_PATH ${KLDIV_NVCC} kldiv_nvcc_path)
  cmake_path(GET kldiv_nvcc_path PARENT_PATH kldiv_cuda_bin)
endif()
find_path(KLDIV_CUDA_INCLUDE cuda_runtime.h PATHS ${kldiv_cuda_bin}/../include /usr/local/cuda/include
          DOC "Headers of the CUDA toolkit")
find_library(KLDIV_BOOST_CONTEXT boost_context DOC "Boost.Context")
find_path(KLDIV_BOOST_INCLUDE boost/context/detail/fcontext.hpp DOC "Headers of Boost.Context")

set(KLDIV_CUDA_HOST_FOUND OFF)
if(KLDIV_CUDA_INCLUDE AND KLDIV_BOOST_CONTEXT AND KLDIV_BOOST_INCLUDE)
  set(KLDIV_CUDA_HOST_FOUND ON)
endif()
set_property(GLOBAL PROPERTY KLDIV_CUDA_HOST_FOUND ${KLDIV_CUDA_HOST_FOUND})

function(kldiv_cuda_host_sources target)
  target_sources(${target} PRIVATE ${ARGN})
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS
                              "-include;${PROJECT_SOURCE_DIR}/tests/cuda_host/device_code.h;-Wno-unknown-pragmas")
  target_include_directories(${target} SYSTEM PRIVATE ${KLDIV_CUDA_INCLUDE})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${target} PUBLIC kldiv_cuda_host)
endfunction()
