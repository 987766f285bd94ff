#include "common/tls_trust.h"

#include <gtest/gtest.h>

namespace vmferry {
namespace {

TEST(ThumbprintTest, TakesAnyCaseWithOrWithoutColons) {  // source-vmware 10 row 9
  const std::string sha1 = "0123456789abcdef0123456789abcdef01234567";
  const auto parsed = parse_thumbprint(sha1);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, "01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67");
  EXPECT_EQ(*parse_thumbprint(*parsed), *parsed);
  EXPECT_TRUE(parse_thumbprint(std::string(64, 'a')));
}

TEST(ThumbprintTest, RefusesOtherLengthsAndLetters) {
  EXPECT_FALSE(parse_thumbprint(""));
  EXPECT_FALSE(parse_thumbprint("AA:BB"));
  EXPECT_FALSE(parse_thumbprint(std::string(40, 'g')));
}

TEST(CaTest, RefusesTextWithoutACertificate) {
  EXPECT_FALSE(parse_ca_certificates("garbage"));
  EXPECT_FALSE(parse_ca_certificates(""));
  EXPECT_FALSE(
      parse_ca_certificates("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  EXPECT_FALSE(parse_ca_certificates("Z2FyYmFnZQ=="));
}

}  // namespace
}  // namespace vmferry
