#ifndef KLDIV_CLIENT_LOAD_PAGE_H_
#define KLDIV_CLIENT_LOAD_PAGE_H_

#include <string>
#include <string_view>

namespace kldiv::load {

// A report as a page for people: HTML that loads nothing else, holds `json`, which is ToJson's, and draws it.
// Whatever text is in the report, it is shown and does nothing.
std::string RenderPage(std::string_view json);

}  // namespace kldiv::load

#endif  // KLDIV_CLIENT_LOAD_PAGE_H_
