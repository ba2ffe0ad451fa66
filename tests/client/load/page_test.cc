#include "client/load/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace kldiv::load {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t CountOf(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// What a browser takes for the element's text: everything up to the first end tag.
std::string Data(const std::string& page) {
  const std::string begin = R"(<script type="application/json" id="report">)";
  const size_t from = page.find(begin) + begin.size();
  return page.substr(from, page.find("</script", from) - from);
}

TEST(Page, HoldsTheReportAsItIs) {
  const auto report = nlohmann::json::parse(R"({"runs":[{"label":"rate 1","calls":12345678901234567}],
      "half": 0.1, "none": null, "text": "µ\u2028\\n\" "})");
  EXPECT_EQ(nlohmann::json::parse(Data(RenderPage(report.dump()))), report);
}

TEST(Page, ShowsTextThatLooksLikeHtmlAsText) {
  const std::string hostile =
      "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> %%REPORT%%";
  const nlohmann::json report = {{"error_texts", {{hostile, hostile}}}, {"command", {hostile}}};
  const std::string page = RenderPage(report.dump());
  EXPECT_EQ(nlohmann::json::parse(Data(page)), report);
  EXPECT_EQ(CountOf(page, "<script"), CountOf(RenderPage("{}"), "<script"));
  EXPECT_THAT(page, Not(HasSubstr("<!--")));
  EXPECT_THAT(page, Not(HasSubstr("<img")));
}

TEST(Page, LoadsNothing) {
  const std::string page = RenderPage("{}");
  for (const char* const attribute : {" src=", "@import", "url(", "fetch(", "XMLHttpRequest", "import("}) {
    EXPECT_THAT(page, Not(HasSubstr(attribute)));
  }
  EXPECT_THAT(page, HasSubstr(R"(content="default-src 'none';)"));
  EXPECT_EQ(CountOf(page, "href="), 1U);
  EXPECT_THAT(page, HasSubstr(R"(<link rel="icon" href="data:,">)"));
  EXPECT_THAT(page, Not(HasSubstr("%%REPORT%%")));
}

}  // namespace
}  // namespace kldiv::load
