// SRC-n is row n of source-ovirt.md 8.
#include "transfer/sources/imageio_answers.h"

#include <gtest/gtest.h>

namespace vmferry {
namespace {

HttpResponse answer(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

TEST(ImageioOptionsTest, OldAndOddServersHaveOneReader_Src12And13) {
  const ImageioOptions none;
  EXPECT_EQ(parse_imageio_options(answer(405, "no")), none);
  EXPECT_EQ(parse_imageio_options(answer(204, "")), none);
  EXPECT_EQ(parse_imageio_options(answer(200, "not json")), none);
  EXPECT_EQ(parse_imageio_options(answer(200, "[1]")), none);
  EXPECT_EQ(parse_imageio_options(answer(200, R"({"features":["extents",7],"max_readers":"x"})")),
            (ImageioOptions{.extents = true, .checksum = false, .max_readers = 1}));
  EXPECT_EQ(
      parse_imageio_options(answer(200, R"({"features":["checksum","extents"],"max_readers":8})")),
      (ImageioOptions{.extents = true, .checksum = true, .max_readers = 8}));
}

TEST(ImageioExtentsTest, OnlyZeroCountsAndNeighboursAreMerged_Src16) {
  const char* json = R"([{"start":0,"length":10,"zero":true,"hole":true},
    {"start":10,"length":10,"zero":false,"hole":true}, {"start":20,"length":5,"zero":false},
    {"start":25,"length":5,"zero":true,"future":"x"}, {"start":30,"length":1}])";
  const std::vector<Extent> expected{{{0, 10}, Allocation::Zero},
                                     {{10, 15}, Allocation::Data},
                                     {{25, 5}, Allocation::Zero},
                                     {{30, 1}, Allocation::Data}};
  const auto parsed = parse_imageio_extents(json, 31);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(*parsed, expected);  // row 16: "hole" may be missing
}

TEST(ImageioExtentsTest, MapsThatDoNotCoverTheDiskAreRefused_Src15) {
  struct Case {
    const char* name;
    const char* json;
  };
  const Case cases[] = {
      {"gap", R"([{"start":0,"length":10,"zero":true},{"start":11,"length":9,"zero":true}])"},
      {"overlap", R"([{"start":0,"length":10,"zero":true},{"start":9,"length":11,"zero":true}])"},
      {"short end", R"([{"start":0,"length":10,"zero":true}])"},
      {"long end", R"([{"start":0,"length":21,"zero":true}])"},
      {"late start", R"([{"start":1,"length":19,"zero":true}])"},
      {"empty extent", R"([{"start":0,"length":0,"zero":true},{"start":0,"length":20}])"},
      {"overflow", R"([{"start":0,"length":18446744073709551615}])"},
      {"negative", R"([{"start":0,"length":-20}])"},
      {"fraction", R"([{"start":0,"length":20.0}])"},
      {"text", R"([{"start":"0","length":"20"}])"},
      {"nothing", "[]"},
      {"an object", R"({"start":0,"length":20})"},
      {"numbers", "[0,20]"},
      {"nested", R"([[{"start":0,"length":20}]])"},
      {"cut off", R"([{"start":0,"length":20})"},
      {"not json", "ticket expired"},
      {"two arrays", R"([{"start":0,"length":20}][])"},
      {"empty text", ""},
  };
  for (const Case& c : cases) EXPECT_FALSE(parse_imageio_extents(c.json, 20).ok()) << c.name;
}

TEST(ImageioExtentsTest, SmallGapsBetweenDataAreRead_Src30) {
  constexpr std::uint64_t kPiece = 64u << 10;
  constexpr std::uint64_t kPieces = 100'000;
  std::vector<Extent> fragments;
  for (std::uint64_t i = 0; i < 2 * kPieces; ++i) {
    fragments.push_back({{i * kPiece, kPiece}, i % 2 == 0 ? Allocation::Data : Allocation::Zero});
  }
  const auto merged = absorb_small_gaps(fragments, 128u << 10);
  const std::uint64_t data = (2 * kPieces - 1) * kPiece;
  EXPECT_EQ(merged, (std::vector<Extent>{{{0, data}, Allocation::Data},
                                         {{data, kPiece}, Allocation::Zero}}));
  EXPECT_LT(data / (8u << 20), 2000u) << "requests";
}

}  // namespace
}  // namespace vmferry
