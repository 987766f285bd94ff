#include "coordinator/kube/default_class.h"

#include <gmock/gmock.h>

namespace vmferry::kube {
namespace {

using ::testing::ElementsAre;

Object marked(const char* name, const char* mark, const char* value = "true") {
  return Object(nlohmann::json{{"metadata", {{"name", name}, {"annotations", {{mark, value}}}}}});
}

TEST(DefaultClassTest, TheMarkForVirtualMachinesGoesBeforeTheClustersOwn) {
  const Object plain = marked("plain", kDefaultClass);
  const Object beta = marked("beta", kBetaDefaultClass);
  const Object virt = marked("virt", kVirtDefaultClass);
  const Object no = marked("no", kDefaultClass, "false");
  EXPECT_EQ(default_class({no, plain}).name(), "plain");
  EXPECT_EQ(default_class({beta, no}).name(), "beta");
  EXPECT_EQ(default_class({plain, virt}).name(), "virt");
  EXPECT_TRUE(default_class({no}).none());
  EXPECT_EQ(default_class({no}).name(), "");
}

TEST(DefaultClassTest, SeveralOfOneMarkAreAmbiguous) {
  const Object a = marked("a", kDefaultClass);
  const Object b = marked("b", kBetaDefaultClass);
  const Object virt = marked("virt", kVirtDefaultClass);
  const DefaultClass both = default_class({b, a});
  EXPECT_TRUE(both.ambiguous());
  EXPECT_EQ(both.name(), "");
  EXPECT_THAT(both.names, ElementsAre("a", "b"));
  EXPECT_EQ(default_class({b, virt, a}).name(), "virt");
}

}  // namespace
}  // namespace vmferry::kube
