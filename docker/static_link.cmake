# KLDIV_STATIC: programs that need nothing of a machine but glibc, 2.35 or later when built on Debian 12. glibc itself
# cannot be among what they carry: at run time it loads the CUDA driver, and what resolves names.
#
# To be included after find_package of all that has a static form in the distribution's packages. Highway
# and prometheus-cpp have none: they are compiled from the distribution's source packages, which `./dev`
# unpacks into build/source-packages, in the versions whose headers are installed.

# Every shared library that was found gives way to the static one beside it.
get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
foreach(target ${targets})
  get_target_property(type ${target} TYPE)
  if(NOT type MATCHES "^(SHARED|UNKNOWN)_LIBRARY$")
    continue()
  endif()
  get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
  set(properties IMPORTED_LOCATION)
  foreach(configuration ${configurations})
    list(APPEND properties IMPORTED_LOCATION_${configuration})
  endforeach()
  foreach(property ${properties})
    get_target_property(shared ${target} ${property})
    string(REGEX REPLACE "\\.so[.0-9]*$" ".a" static "${shared}")
    if(EXISTS ${static})
      set_target_properties(${target} PROPERTIES ${property} ${static})
    endif()
  endforeach()
endforeach()
# This one is found as a flag of the linker.
get_target_property(libraries re2::re2 INTERFACE_LINK_LIBRARIES)
string(REPLACE "-lre2" "-l:libre2.a" libraries "${libraries}")
set_target_properties(re2::re2 PROPERTIES INTERFACE_LINK_LIBRARIES "${libraries}")

add_compile_options(-ffunction-sections -fdata-sections)
add_link_options(-static-libstdc++ -static-libgcc -Wl,--gc-sections -Wl,--as-needed)
add_link_options(-Wl,--undefined=arc4random)  # taken from server/base/arc4random.cc before libstdc++ asks for it
# The archives refer to each other in circles, of which the packages' own CMake files, written for shared libraries,
# say nothing.
string(REPLACE "<LINK_LIBRARIES>" "-Wl,--start-group <LINK_LIBRARIES> -Wl,--end-group" CMAKE_CXX_LINK_EXECUTABLE
       "${CMAKE_CXX_LINK_EXECUTABLE}")
# Which archives a program has parts of, docker/notice.sh learns from its map.
string(APPEND CMAKE_CXX_LINK_EXECUTABLE " -Wl,-Map=<TARGET>.map")

set(KLDIV_SOURCE_PACKAGES ${PROJECT_SOURCE_DIR}/build/source-packages CACHE PATH
    "Unpacked source packages highway and prometheus-cpp; for KLDIV_STATIC")

# kldiv_packaged_library(TARGET PACKAGE PATTERNS...): a static library of files of a source package.
function(kldiv_packaged_library target package)
  file(GLOB folder ${KLDIV_SOURCE_PACKAGES}/${package}-*/)
  list(TRANSFORM ARGN PREPEND ${folder}/)
  file(GLOB sources ${ARGN})
  if(NOT sources)
    message(FATAL_ERROR "KLDIV_STATIC=ON: no source package ${package} in ${KLDIV_SOURCE_PACKAGES}")
  endif()
  string(REPLACE :: _ name ${target})
  add_library(${name} STATIC ${sources})
  target_compile_options(${name} PRIVATE -w)  # others' code
  set_target_properties(${name} PROPERTIES CXX_CLANG_TIDY "")
  add_library(${target} ALIAS ${name})
endfunction()

kldiv_packaged_library(hwy::hwy highway hwy/targets.cc)

kldiv_packaged_library(prometheus-cpp::core prometheus-cpp core/src/*.cc core/src/detail/*.cc)
target_link_libraries(prometheus-cpp_core PUBLIC Threads::Threads)
