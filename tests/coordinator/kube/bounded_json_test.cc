#include "coordinator/kube/bounded_json.h"

#include <gtest/gtest.h>

#include <string>

namespace vmferry::kube {
namespace {

std::string nested(std::size_t depth) {
  return std::string(depth, '[') + "1" + std::string(depth, ']');
}

TEST(BoundedJsonTest, ReadsWhatIsWithinBounds) {
  EXPECT_EQ(parse_bounded_json(R"({"a": [1, "b"]})"),
            (nlohmann::json{{"a", nlohmann::json::array({1, "b"})}}));
  EXPECT_EQ(parse_bounded_json("7"), nlohmann::json(7));
  EXPECT_TRUE(parse_bounded_json(nested(60)).is_array());
}

TEST(BoundedJsonTest, IsNullForAnythingElse) {
  EXPECT_TRUE(parse_bounded_json("").is_null());
  EXPECT_TRUE(parse_bounded_json("{").is_null());
  EXPECT_TRUE(parse_bounded_json("{} x").is_null());
  EXPECT_TRUE(parse_bounded_json(nested(70)).is_null());
  EXPECT_TRUE(parse_bounded_json(nested(500'000)).is_null());
  EXPECT_TRUE(parse_bounded_json(std::string(1 << 20, '[')).is_null());
  EXPECT_TRUE(parse_bounded_json("[1,2,3]", 6).is_null());
}

}  // namespace
}  // namespace vmferry::kube
