// Rows are those of source-vmware.md 10.
#include "transfer/sources/vmdk_stream_decoder.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/transfer/support/vmdk_stream_builder.h"

namespace vmferry {
namespace {

using testing::Bytes;
using testing::make_vmdk_stream;
using testing::patterned;
using testing::VmdkStreamRecipe;

// The image that a stream decodes to when it comes in pieces of `step` bytes.
Result<Bytes> decode(const Bytes& stream, std::size_t step) {
  VmdkStreamDecoder decoder;
  GrainInflater inflater;
  Bytes image;
  std::optional<Error> failed;
  const auto on_grain = [&](const VmdkGrain& grain) {
    image.resize(decoder.header().capacity_bytes);
    const std::size_t length = std::min(decoder.header().grain_bytes, image.size() - grain.offset);
    Result<void> done = inflater.inflate(grain.compressed, decoder.header().grain_bytes,
                                         std::span(image).subspan(grain.offset, length));
    if (!done) failed = done.error();
    return done.ok();
  };
  for (std::size_t at = 0; at < stream.size(); at += step) {
    const auto piece = std::span(stream).subspan(at, std::min(step, stream.size() - at));
    Result<void> fed = decoder.feed(piece, on_grain);
    if (!fed) return failed ? *failed : fed.error();
  }
  TRY(decoder.finish());
  image.resize(decoder.header().capacity_bytes);
  return image;
}

TEST(VmdkStreamDecoderTest, Vsrc38PiecesOfAnySizeGiveTheSameImage) {
  const Bytes disk = patterned(3 * 65536 + 1024, 7, 2);
  const Bytes stream = make_vmdk_stream(disk);
  for (const std::size_t step : {std::size_t{1}, std::size_t{511}, std::size_t{512},
                                 std::size_t{513}, std::size_t{70000}, stream.size()}) {
    const auto image = decode(stream, step);
    ASSERT_TRUE(image.ok()) << image.error().message();
    EXPECT_TRUE(*image == disk) << step;
  }
}

TEST(VmdkStreamDecoderTest, Vsrc39StreamCutAnywhereFails) {
  const Bytes stream = make_vmdk_stream(patterned(4 * 65536), {.end_marker = false});
  EXPECT_FALSE(decode(stream, 4096).ok());
  const Bytes whole = make_vmdk_stream(patterned(4 * 65536));
  for (std::size_t cut = 0; cut + 1024 < whole.size(); cut += 4097) {
    EXPECT_FALSE(decode(Bytes(whole.begin(), whole.begin() + static_cast<long>(cut)), 4096).ok())
        << cut;
  }
}

TEST(VmdkStreamDecoderTest, KindsOfStreamsDecode) {
  struct Case {
    const char* name;
    std::size_t size;
    VmdkStreamRecipe recipe;
  };
  const Case cases[] = {
      {"VSRC-40: tables, directory and footer are passed over", 5 * 65536, {.tables = true}},
      {"VSRC-41: the last grain reaches beyond the capacity",
       2 * 65536 + 512,
       {.pad_last_grain = true}},
      {"VSRC-43: the directory's place is in the header", 65536, {.gd_offset = 26}},
      {"VSRC-44: the capacity is no multiple of the grain", 3 * 65536 + 1536, {}},
      {"no overhead beyond the header", 65536, {.overhead_sectors = 1}},
      {"small grains", 5 * 4096 + 512, {.grain_sectors = 8}},
      {"one sector", 512, {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Bytes disk = patterned(c.size, 3);
    const auto image = decode(make_vmdk_stream(disk, c.recipe), 1000);
    ASSERT_TRUE(image.ok()) << image.error().message();
    EXPECT_TRUE(*image == disk);
  }
}

TEST(VmdkStreamDecoderTest, Vsrc42CorruptGrainsFail) {
  const Bytes disk = patterned(2 * 65536);
  EXPECT_FALSE(decode(make_vmdk_stream(disk, {.break_deflate = true}), 4096).ok());
  EXPECT_FALSE(decode(make_vmdk_stream(disk, {.shorten_inner_grain = true}), 4096).ok());
}

TEST(VmdkStreamDecoderTest, RefusesHeadersOutOfBounds) {
  const Bytes good = make_vmdk_stream(patterned(65536));
  struct Case {
    const char* name;
    std::size_t at;
    std::byte value;
  };
  const Case cases[] = {{"magic", 0, std::byte{1}},           {"version", 4, std::byte{9}},
                        {"not compressed", 10, std::byte{2}}, {"no markers", 10, std::byte{1}},
                        {"grain size", 20, std::byte{7}},     {"line ends", 75, std::byte{0x0a}},
                        {"compression", 77, std::byte{2}},    {"overhead", 71, std::byte{1}},
                        {"capacity", 19, std::byte{0x80}}};
  for (const Case& c : cases) {
    Bytes bad = good;
    bad[c.at] = c.value;
    EXPECT_FALSE(decode(bad, 512).ok()) << c.name;
  }
}

TEST(VmdkStreamDecoderTest, BelievesInNoMoreMetadataThanTheDiskCanHave) {
  const Bytes good = make_vmdk_stream(patterned(65536), {.end_marker = false});
  for (const std::uint8_t sectors : {std::uint8_t{0}, std::uint8_t{4}}) {
    SCOPED_TRACE(int{sectors});
    Bytes stream = good;
    std::size_t tables = 0;
    std::size_t fed = 0;
    VmdkStreamDecoder decoder;
    Result<void> taken;
    for (; taken && tables < 100'000; ++tables) {
      taken = decoder.feed(std::span(stream).subspan(fed), [](VmdkGrain) { return true; });
      fed = 0;
      stream.assign((1u + sectors) * 512u, std::byte{0});
      stream[0] = std::byte{sectors};
      stream[12] = std::byte{1};  // a grain table
    }
    ASSERT_FALSE(taken.ok());
    EXPECT_EQ(taken.error().kind(), ErrorKind::DataLoss);
    EXPECT_GT(tables, 500u) << "writers may be generous";
    EXPECT_LT(tables, 10'000u);
  }
}

TEST(VmdkStreamDecoderTest, RefusesMarkersOutOfBounds) {
  const Bytes good = make_vmdk_stream(patterned(2 * 65536));
  const std::size_t marker = 128 * 512;
  struct Case {
    const char* name;
    std::size_t at;
    std::byte value;
  };
  const Case cases[] = {{"grain between grains", marker, std::byte{1}},
                        {"grain beyond the capacity", marker + 3, std::byte{1}},
                        {"huge grain", marker + 11, std::byte{0x7f}}};
  for (const Case& c : cases) {
    Bytes bad = good;
    bad[c.at] = c.value;
    EXPECT_FALSE(decode(bad, 512).ok()) << c.name;
  }
}

}  // namespace
}  // namespace vmferry
