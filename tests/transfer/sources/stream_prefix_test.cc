#include "transfer/sources/stream_prefix.h"

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/catalogue.h"

namespace vmferry {
namespace {

// What `prefix` lets through of `text`, given in pieces of `piece` bytes; "!" when it objects.
std::string pass(StreamPrefix& prefix, std::string_view text, std::size_t piece) {
  prefix.begin();
  std::string passed;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    const std::string_view some = text.substr(at, piece);
    const auto fresh = prefix.add(std::as_bytes(std::span(some.data(), some.size())));
    if (!fresh) {
      EXPECT_EQ(fresh.error().kind(), ErrorKind::DataLoss);
      EXPECT_EQ(fresh.error().code(), code::kSourceChanged);
      return passed + "!";
    }
    passed.append(reinterpret_cast<const char*>(fresh->data()), fresh->size());
  }
  return passed;
}

TEST(StreamPrefixTest, LetsThroughWhatIsNewWhenTheRestIsAsItWas) {
  struct Case {
    const char* name;
    std::vector<std::string_view> tries;
    std::vector<std::string_view> passed;
  };
  const Case cases[] = {
      {"in one go", {"0123456789"}, {"0123456789"}},
      {"broken once", {"0123", "0123456789"}, {"0123", "456789"}},
      {"broken at once", {"", "0123"}, {"", "0123"}},
      {"broken earlier the second time", {"0123", "01", "012345"}, {"0123", "", "45"}},
      {"broken at the same place", {"0123", "0123", "012345"}, {"0123", "", "45"}},
      {"another beginning", {"0123", "x123456789"}, {"0123", "!"}},
      {"another byte before the break", {"0123", "012x456789"}, {"0123", "!"}},
      {"another file at the third try", {"01", "0123", "x12345"}, {"01", "23", "!"}},
      {"another beginning, broken before it is known",
       {"0123", "x1", "012345"},
       {"0123", "", "45"}},
      {"another end is its end", {"0123", "0123xxx"}, {"0123", "xxx"}},
  };
  for (const Case& c : cases) {
    for (const std::size_t piece : {1u, 3u, 100u}) {
      SCOPED_TRACE(std::string(c.name) + ", pieces of " + std::to_string(piece));
      StreamPrefix prefix;
      for (std::size_t i = 0; i < c.tries.size(); ++i) {
        EXPECT_EQ(pass(prefix, c.tries[i], piece), c.passed[i]) << i;
      }
    }
  }
}

TEST(StreamPrefixTest, CountsWhatCameAndWhatWasLetThrough) {
  StreamPrefix prefix;
  pass(prefix, "0123", 4);
  EXPECT_EQ(prefix.received(), 4u);
  EXPECT_EQ(prefix.taken(), 4u);
  pass(prefix, "01", 2);
  EXPECT_EQ(prefix.received(), 2u);
  EXPECT_EQ(prefix.taken(), 4u);
  pass(prefix, "012345", 6);
  EXPECT_EQ(prefix.received(), 6u);
  EXPECT_EQ(prefix.taken(), 6u);
}

}  // namespace
}  // namespace vmferry
