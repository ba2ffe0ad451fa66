# KLDIV_PACKAGE: `cpack` makes kldiv_VERSION_ARCHITECTURE.deb of what `cmake --install` gives and, from here, the
# unit, the man pages and what Debian's policy asks of a package.
#
# Who builds it for others sets DEBFULLNAME and DEBEMAIL, as for Debian's own tools: the maintainer to write to.
set(KLDIV_DEB_DIR ${CMAKE_CURRENT_LIST_DIR})
set(KLDIV_DEB_BUILD ${PROJECT_BINARY_DIR}/package)
find_program(KLDIV_HELP2MAN help2man REQUIRED)
find_program(KLDIV_DPKG_SHLIBDEPS dpkg-shlibdeps REQUIRED)

file(STRINGS ${KLDIV_DEB_DIR}/changelog KLDIV_CHANGELOG LIMIT_COUNT 1)
string(FIND "${KLDIV_CHANGELOG}" "kldiv (${PROJECT_VERSION}) " at)
if(NOT at EQUAL 0)
  message(FATAL_ERROR "docker/deb/changelog begins with another version than ${PROJECT_VERSION}")
endif()

# kldiv_compressed(NAME COMMAND... DEPENDS...): NAME.gz is what the command prints, compressed as the policy asks; part
# of the target all.
function(kldiv_compressed name)
  cmake_parse_arguments(ARG "" "" "COMMAND;DEPENDS" ${ARGN})
  add_custom_command(OUTPUT ${KLDIV_DEB_BUILD}/${name}.gz
                     COMMAND ${CMAKE_COMMAND} -E make_directory ${KLDIV_DEB_BUILD}
                     COMMAND ${ARG_COMMAND} > ${KLDIV_DEB_BUILD}/${name}
                     COMMAND gzip -9nf ${KLDIV_DEB_BUILD}/${name}
                     DEPENDS ${ARG_DEPENDS} VERBATIM)
  add_custom_target(kldiv_package_${name} ALL DEPENDS ${KLDIV_DEB_BUILD}/${name}.gz)
endfunction()

# kldiv_man_page(PROGRAM WHAT SEE_ALSO)
function(kldiv_man_page program what see_also)
  kldiv_compressed(${program}.1 COMMAND ${KLDIV_DEB_DIR}/man_page.sh $<TARGET_FILE:${program}> ${what} ${see_also}
                   DEPENDS ${program} ${KLDIV_DEB_DIR}/man_page.sh)
  install(FILES ${KLDIV_DEB_BUILD}/${program}.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endfunction()

kldiv_man_page(kldiv-server "serve Kullback-Leibler divergences over gRPC"
               "kldiv(1), kldiv-load(1), systemd.service(5)")
kldiv_man_page(kldiv "evaluate Kullback-Leibler divergences" "kldiv-server(1), kldiv-load(1)")
kldiv_man_page(kldiv-load "put a kldiv-server under load" "kldiv-server(1), kldiv(1)")
kldiv_compressed(changelog COMMAND cat ${KLDIV_DEB_DIR}/changelog DEPENDS ${KLDIV_DEB_DIR}/changelog)

set(doc ${CMAKE_INSTALL_DATADIR}/doc/kldiv)
install(FILES ${KLDIV_DEB_DIR}/copyright ${KLDIV_DEB_BUILD}/changelog.gz DESTINATION ${doc})
install(FILES ${PROJECT_SOURCE_DIR}/README.md DESTINATION ${doc})
install(FILES ${KLDIV_DEB_DIR}/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME kldiv)
install(FILES ${PROJECT_SOURCE_DIR}/docker/systemd/kldiv-server.service DESTINATION /lib/systemd/system)
install(FILES ${PROJECT_SOURCE_DIR}/docker/systemd/kldiv-server.default DESTINATION /etc/default RENAME kldiv-server)

set(maintainer "kldiv maintainers")
if(DEFINED ENV{DEBFULLNAME})
  set(maintainer $ENV{DEBFULLNAME})
endif()
set(address kldiv@localhost)
if(DEFINED ENV{DEBEMAIL})
  set(address $ENV{DEBEMAIL})
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME kldiv)
set(CPACK_PACKAGE_CONTACT "${maintainer} <${address}>")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "server for the Kullback-Leibler divergence")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"A gRPC server that answers pairs of tensors, log-probabilities of a model and
observed probabilities, with their Kullback-Leibler divergence as PyTorch's
KLDivLoss defines it. All arithmetic is binary64 in one fixed order: the same
pair gives the same bits, whatever else is in flight.

With it come a command-line tool, a load tester, and a C++ client library with
its header, whose users also need the packages that are suggested.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_PREDEPENDS "init-system-helpers (>= 1.54~)")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS
    "cmake, g++, libabsl-dev, libgrpc++-dev, libprotobuf-dev, make, pkg-config, protobuf-compiler, \
protobuf-compiler-grpc")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${KLDIV_DEB_DIR}/conffiles ${KLDIV_DEB_DIR}/postinst ${KLDIV_DEB_DIR}/prerm
                                       ${KLDIV_DEB_DIR}/postrm)
set(CPACK_STRIP_FILES ON)
include(CPack)
