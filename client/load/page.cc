#include "client/load/page.h"

#include "client/load/page_template.h"

namespace kldiv::load {

std::string RenderPage(std::string_view json) {
  constexpr size_t kData = kPageTemplate.find(kPageDataMark);
  static_assert(kData != std::string_view::npos);
  std::string page(kPageTemplate.substr(0, kData));
  page.reserve(kPageTemplate.size() + json.size());
  // In JSON, a < can only be part of a text, where this means the same. It could end the element that the
  // data stand in.
  for (const char c : json) {
    if (c == '<') {
      page += "\\u003c";
    } else {
      page += c;
    }
  }
  page += kPageTemplate.substr(kData + kPageDataMark.size());
  return page;
}

}  // namespace kldiv::load
