# The page of --html, in one piece: writes page_template.h, which defines kPageTemplate.
set(KLDIV_PAGE_FOLDER ${CMAKE_CURRENT_LIST_DIR})
foreach(file page.html page.css chart.js page.js)
  file(READ ${KLDIV_PAGE_FOLDER}/${file} KLDIV_PAGE_${file})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${KLDIV_PAGE_FOLDER}/${file})
endforeach()
set(KLDIV_PAGE "${KLDIV_PAGE_page.html}")
string(REPLACE "@KLDIV_PAGE_CSS@" "${KLDIV_PAGE_page.css}" KLDIV_PAGE "${KLDIV_PAGE}")
string(REPLACE "@KLDIV_PAGE_CHART_JS@" "${KLDIV_PAGE_chart.js}" KLDIV_PAGE "${KLDIV_PAGE}")
string(REPLACE "@KLDIV_PAGE_JS@" "${KLDIV_PAGE_page.js}" KLDIV_PAGE "${KLDIV_PAGE}")
configure_file(${KLDIV_PAGE_FOLDER}/page_template.h.in ${CMAKE_CURRENT_BINARY_DIR}/page_template/client/load/page_template.h
               @ONLY)
