#include "coordinator/kube/apply.h"

#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;

class ApplyTest : public embedded::StoreFixture {
 protected:
  Applied applied(const char* text) {
    const auto result = apply(*store_, *store_, Object(json::parse(text)), {});
    EXPECT_TRUE(result) << to_string(result.error());
    return result ? result->applied : Applied::Unchanged;
  }
};

TEST_F(ApplyTest, CreatesConfiguresAndLeavesAlone) {
  const char* first = R"({"apiVersion": "v1", "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "n"}, "data": {"a": "1", "b": "2"}})";
  EXPECT_EQ(applied(first), Applied::Created);
  EXPECT_EQ(applied(first), Applied::Unchanged);
  ASSERT_TRUE(patch("a", R"({"metadata": {"annotations": {"theirs": "x"}}})"));
  EXPECT_EQ(applied(first), Applied::Unchanged);
  EXPECT_EQ(applied(R"({"apiVersion": "v1", "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "n"}, "data": {"b": "3"}})"),
            Applied::Configured);
  EXPECT_EQ(find("a")->json()["data"], json::parse(R"({"b": "3"})"));
  EXPECT_EQ(find("a")->annotation("theirs"), "x");
}

TEST_F(ApplyTest, KeepsTheStatusOfAnImport) {
  Object wanted = import("web");
  wanted.json()["apiVersion"] = "v2v.kubevirt.io/v1beta1";
  wanted.json()["kind"] = "VirtualMachineImport";
  wanted.json()["spec"]["startVm"] = true;
  ASSERT_TRUE(apply(*store_, *store_, wanted, {}));
  ASSERT_TRUE(store_->patch_status(types::kVirtualMachineImport, {"n", "web"},
                                   json{{"status", {{"targetVmName", "t"}}}}, {}));
  wanted.json()["spec"].erase("startVm");
  const auto after = apply(*store_, *store_, wanted, {});
  ASSERT_TRUE(after);
  EXPECT_EQ(after->applied, Applied::Configured);
  EXPECT_FALSE(after->object.json()["spec"].contains("startVm"));
  EXPECT_EQ(after->object.json()["status"]["targetVmName"], "t");
}

TEST_F(ApplyTest, TakesStringDataOfSecretsAsUnchanged) {
  const char* secret = R"({"apiVersion": "v1", "kind": "Secret",
    "metadata": {"name": "s", "namespace": "n"}, "stringData": {"a": "1"}})";
  EXPECT_EQ(applied(secret), Applied::Created);
  EXPECT_EQ(applied(secret), Applied::Unchanged);
}

TEST_F(ApplyTest, RefusesUnknownKinds) {
  EXPECT_FALSE(apply(*store_, *store_, Object(json{{"kind", "Deployment"}}), {}));
}

}  // namespace
}  // namespace vmferry::kube
