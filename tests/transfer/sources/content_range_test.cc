#include "transfer/sources/content_range.h"

#include <gtest/gtest.h>

#include "common/catalogue.h"
#include "transfer/sources/http_range_check.h"

namespace vmferry {
namespace {

TEST(ContentRangeTest, ParsesWhatTheStandardAllows) {
  EXPECT_EQ(*parse_content_range("bytes 0-1023/4096"), (ContentRange{true, 0, 1023, 4096}));
  EXPECT_EQ(*parse_content_range("bytes 5-5/*"), (ContentRange{true, 5, 5, std::nullopt}));
  EXPECT_EQ(*parse_content_range("bytes */0"), (ContentRange{false, 0, 0, 0}));
}

TEST(ContentRangeTest, RefusesEverythingElse) {
  for (const char* text :
       {"", "bytes", "bytes ", "bytes 0-1", "bytes */*", "bytes 2-1/4", "bytes 0-4/4",
        "items 0-1/4", "bytes 0-1/x", "bytes -1/4", "bytes 0-/4", "bytes 0x0-1/4", "bytes  0-1/4",
        "bytes 0-1/4 ", "bytes 0-18446744073709551616/*", "bytes +0-1/4"}) {
    EXPECT_FALSE(parse_content_range(text).ok()) << text;
  }
}

HttpResponse partial(const std::string& range, const std::string& length = "512") {
  HttpResponse response;
  response.status = 206;
  response.headers = {{"content-range", range}, {"content-length", length}, {"etag", "\"a\""}};
  return response;
}

TEST(HttpRangeCheckTest, Row31AcceptsExactlyTheRangeAskedFor) {
  const ByteRange wanted{512, 512};
  EXPECT_TRUE(
      check_partial_content(partial("bytes 512-1023/4096"), wanted, 4096, {"\"a\"", ""}).ok());
  EXPECT_TRUE(check_partial_content(partial("bytes 512-1023/*"), wanted, 4096, {}).ok());
  struct Case {
    const char* name;
    HttpResponse response;
    std::string_view code;
  };
  HttpResponse encoded = partial("bytes 512-1023/4096");
  encoded.headers["content-encoding"] = "gzip";
  HttpResponse changed = partial("bytes 512-1023/4096");
  changed.headers["etag"] = "\"b\"";
  HttpResponse nothing;
  const Case cases[] = {
      {"shifted", partial("bytes 513-1024/4096"), code::kSourceProtocol},
      {"shorter", partial("bytes 512-1022/4096"), code::kSourceProtocol},
      {"longer", partial("bytes 512-1024/4096"), code::kSourceProtocol},
      {"wrong length", partial("bytes 512-1023/4096", "511"), code::kSourceProtocol},
      {"unsatisfied", partial("bytes */4096"), code::kSourceProtocol},
      {"garbage", partial("bytes a-b/c"), code::kSourceProtocol},
      {"no header", nothing, code::kSourceProtocol},
      {"encoded", encoded, code::kSourceProtocol},
      {"another total", partial("bytes 512-1023/8192"), code::kSourceChanged},
      {"another etag", changed, code::kSourceChanged},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Result<void> checked = check_partial_content(c.response, wanted, 4096, {"\"a\"", ""});
    ASSERT_FALSE(checked.ok());
    EXPECT_EQ(checked.error().code(), c.code);
  }
}

}  // namespace
}  // namespace vmferry
