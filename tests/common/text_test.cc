// Text forms of common/: sizes, times, URLs, base64, secrets.
#include <gtest/gtest.h>

#include "common/backoff.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/extent.h"
#include "common/http_client.h"
#include "common/id.h"
#include "common/secret.h"

namespace vmferry {
namespace {

TEST(BytesTest, ParsesWhatPeopleType) {
  const struct {
    std::string_view text;
    std::uint64_t bytes;
  } cases[] = {{"4096", 4096},     {"200M", 200 * kMiB}, {"1.5G", kGiB + kGiB / 2},
               {"2MiB", 2 * kMiB}, {"1k", kKiB},         {"3TB", 3 * kTiB}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto parsed = parse_size(c.text);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(*parsed, c.bytes);
  }
  for (const std::string_view bad : {"", "fast", "-1", "10X", "1e30G", "12Mb/s"}) {
    EXPECT_FALSE(parse_size(bad)) << bad;
  }
}

TEST(BytesTest, ParsesKubernetesQuantities) {
  EXPECT_EQ(*parse_quantity("1Gi"), kGiB);
  EXPECT_EQ(*parse_quantity("1G"), 1'000'000'000u);
  EXPECT_EQ(*parse_quantity("1610612736"), 1610612736u);
  EXPECT_EQ(*parse_quantity("500m"), 1u);
  EXPECT_FALSE(parse_quantity("1GiB"));
}

TEST(BytesTest, FormatsForPeople) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(96 * kMiB), "96.0 MiB");
  EXPECT_EQ(human_bytes(kGiB + kGiB / 2), "1.5 GiB");
  EXPECT_EQ(human_duration(3), "3 s");
  EXPECT_EQ(human_duration(125), "2 min 05 s");
  EXPECT_EQ(human_duration(4320), "1 h 12 min");
  EXPECT_EQ(human_duration(-1), "unknown");
}

TEST(ClockTest, TimesSurviveTheirText) {
  const auto parsed = parse_rfc3339("2026-01-31T12:00:00Z");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(to_rfc3339(*parsed), "2026-01-31T12:00:00Z");
  EXPECT_EQ(*parse_rfc3339("2026-01-31T14:00:00+02:00"), *parsed);
  EXPECT_EQ(to_rfc3339_micro(*parse_rfc3339("2026-01-31T12:00:00.25Z")),
            "2026-01-31T12:00:00.250000Z");
  EXPECT_FALSE(parse_rfc3339("yesterday"));
  EXPECT_FALSE(parse_rfc3339("2026-01-31T12:00:00"));
}

TEST(BackoffTest, GrowsToItsCap) {
  const Backoff backoff{.first = std::chrono::milliseconds(100), .cap = std::chrono::seconds(1)};
  EXPECT_EQ(backoff.delay(1).count(), 100);
  EXPECT_EQ(backoff.delay(3).count(), 400);
  EXPECT_EQ(backoff.delay(50).count(), 1000);
  EXPECT_EQ(backoff.delay(1, 0.5).count(), 90);
}

TEST(ExtentTest, RefusesRangesThatOverflow) {
  EXPECT_FALSE(ByteRange::make(~0ull, 2));
  EXPECT_TRUE(ByteRange::make(~0ull - 1, 1));
}

TEST(ExtentTest, MergesNeighboursOfOneKind) {
  const std::vector<Extent> merged = merge_adjacent({{{0, 10}, Allocation::Data},
                                                     {{10, 5}, Allocation::Data},
                                                     {{15, 0}, Allocation::Zero},
                                                     {{15, 5}, Allocation::Zero}});
  EXPECT_EQ(merged,
            (std::vector<Extent>{{{0, 15}, Allocation::Data}, {{15, 5}, Allocation::Zero}}));
  EXPECT_EQ(bytes_to_read(merged), 15u);
}

TEST(UrlTest, SplitsIntoItsParts) {
  const auto url = parse_url("https://us%40er:p%3Aw@[::1]:8443/sdk?x=1#frag");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->user, "us@er");
  EXPECT_EQ(url->password.reveal(), "p:w");
  EXPECT_EQ(url->host, "::1");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->path_and_query, "/sdk?x=1");
  EXPECT_EQ(url->origin(), "https://[::1]:8443");
}

TEST(UrlTest, RefusesWhatIsNone) {
  for (const std::string_view bad :
       {"", "host/path", "https://", "https://h:99999/", "https://[::1/"}) {
    EXPECT_FALSE(parse_url(bad)) << bad;
  }
}

TEST(SecretTest, LoggedUrlsHoldNoSecret) {
  EXPECT_EQ(redacted_url("https://u:p@h:1/a/b?token=x"), "https://h:1/a/b");
  EXPECT_EQ(redacted_url("https://h:54322/images/3f1c/extents"),
            "https://h:54322/images/***/extents");
  EXPECT_EQ(redacted_url("https://h/images/3f1c"), "https://h/images/***");
}

TEST(SecretTest, PrintsAsStars) { EXPECT_EQ(fmt::format("{}", SecretString("hunter2")), "***"); }

TEST(Base64Test, SurvivesBothWays) {
  for (const std::string_view text : {"", "a", "ab", "abc", "abcd", "\x00\xff\x10"}) {
    EXPECT_EQ(*base64_decode(base64_encode(text)), text);
  }
  EXPECT_EQ(*base64_decode("aGVs\nbG8="), "hello");
  for (const std::string_view bad : {"a", "ab=c", "====", "a*bc"}) {
    EXPECT_FALSE(base64_decode(bad)) << bad;
  }
}

TEST(IdTest, RandomIdsDiffer) {
  EXPECT_NE(random_hex_id(), random_hex_id());
  EXPECT_EQ(random_uuid().size(), 36u);
  EXPECT_EQ(random_uuid()[14], '4');
}

}  // namespace
}  // namespace vmferry
