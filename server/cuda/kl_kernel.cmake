# The target kldiv_kl_kernel: the kernel by nvcc, with the runtime, both linked statically, so that the program
# starts on a machine without a driver. By a command of its own rather than CMake's language CUDA, because the
# project's options for C++ are not nvcc's.

# Machine code for every generation that the toolkit knows, and PTX: the newest for those to come, the oldest
# for those in between.
set(kldiv_cuda_code)
foreach(architecture 75 80 86 89 90 100 120)
  list(APPEND kldiv_cuda_code -gencode arch=compute_${architecture},code=sm_${architecture})
endforeach()
foreach(architecture 75 120)
  list(APPEND kldiv_cuda_code -gencode arch=compute_${architecture},code=compute_${architecture})
endforeach()

set(kldiv_kernel_object ${CMAKE_CURRENT_BINARY_DIR}/kl_kernel.o)
add_custom_command(
  OUTPUT ${kldiv_kernel_object}
  COMMAND ${KLDIV_NVCC} -std=c++20 -I. -O3 -fmad=false ${kldiv_cuda_code} -Xcompiler -fPIC -MD -MF
          ${kldiv_kernel_object}.d -c server/cuda/kl_kernel.cu -o ${kldiv_kernel_object}
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/kl_kernel.cu ${CMAKE_CURRENT_LIST_FILE}
  DEPFILE ${kldiv_kernel_object}.d
  COMMENT "Building the CUDA kernel"
  VERBATIM)

find_library(KLDIV_CUDART cudart_static PATHS ${kldiv_cuda_bin}/../lib64 ${kldiv_cuda_bin}/../lib
             DOC "CUDA runtime, static" REQUIRED)
add_library(kldiv_kl_kernel STATIC ${kldiv_kernel_object})
set_target_properties(kldiv_kl_kernel PROPERTIES LINKER_LANGUAGE CXX)
target_link_libraries(kldiv_kl_kernel INTERFACE ${KLDIV_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
