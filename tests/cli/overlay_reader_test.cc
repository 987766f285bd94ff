#include "cli/overlay_reader.h"

#include <gtest/gtest.h>

#include "coordinator/embedded/store.h"
#include "transfer/sources/private_directory.h"

namespace vmferry::cli {
namespace {

using kube::types::kConfigMap;

kube::Object config_map(const std::string& name, const std::string& value,
                        const std::string& ns = "n") {
  return kube::Object(nlohmann::json{{"apiVersion", "v1"},
                                     {"kind", "ConfigMap"},
                                     {"metadata", {{"name", name}, {"namespace", ns}}},
                                     {"data", {{"a", value}}}});
}

class OverlayReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = PrivateDirectory::make("");
    ASSERT_TRUE(directory.ok());
    directory_ = *std::move(directory);
    auto store = embedded::Store::open(directory_->path() + "/store.db", clock_);
    ASSERT_TRUE(store.ok());
    store_ = *std::move(store);
    ASSERT_TRUE(store_->create(kConfigMap, config_map("below", "1"), {}, {}).ok());
    ASSERT_TRUE(store_->create(kConfigMap, config_map("both", "1"), {}, {}).ok());
  }

  std::string value(kube::Reader& reader, const std::string& name) {
    const auto found = reader.get(kConfigMap, {"n", name}, {});
    return found.ok() ? found->json()["data"]["a"].get<std::string>() : "none";
  }

  const SystemClock clock_;
  std::unique_ptr<PrivateDirectory> directory_;
  std::unique_ptr<embedded::Store> store_;
};

TEST_F(OverlayReaderTest, ShowsTheStoreAsItWouldBeAndLeavesItAsItIs) {
  OverlayReader view(*store_);
  ASSERT_TRUE(view.put(kConfigMap, config_map("both", "2"), {}).ok());
  ASSERT_TRUE(view.put(kConfigMap, config_map("above", "3"), {}).ok());
  ASSERT_TRUE(view.put(kConfigMap, config_map("above", "4", "other"), {}).ok());
  EXPECT_EQ(value(view, "below"), "1");
  EXPECT_EQ(value(view, "both"), "2");
  EXPECT_EQ(value(view, "above"), "3");
  EXPECT_EQ(view.list(kConfigMap, {.ns = "n", .label_selector = {}}, {})->items.size(), 3u);
  EXPECT_EQ(view.list(kConfigMap, {}, {})->items.size(), 4u);
  EXPECT_EQ(value(*store_, "both"), "1");
  EXPECT_EQ(value(*store_, "above"), "none");
}

TEST_F(OverlayReaderTest, KeepsTheUidOfWhatExists) {
  OverlayReader view(*store_);
  ASSERT_TRUE(view.put(kConfigMap, config_map("both", "2"), {}).ok());
  ASSERT_TRUE(view.put(kConfigMap, config_map("above", "3"), {}).ok());
  EXPECT_EQ(view.get(kConfigMap, {"n", "both"}, {})->uid(),
            store_->get(kConfigMap, {"n", "both"}, {})->uid());
  EXPECT_EQ(view.get(kConfigMap, {"n", "above"}, {})->uid(), kUidToCome);
}

TEST_F(OverlayReaderTest, SelectsByLabelsAsTheStoreDoes) {
  OverlayReader view(*store_);
  kube::Object labelled = config_map("labelled", "1");
  labelled.json()["metadata"]["labels"] = {{"templates", ""}};
  ASSERT_TRUE(view.put(kConfigMap, labelled, {}).ok());
  ASSERT_TRUE(view.put(kConfigMap, config_map("above", "2"), {}).ok());
  const auto list = view.list(kConfigMap, {.ns = "n", .label_selector = "templates"}, {});
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list->items.size(), 1u);
  EXPECT_EQ(list->items[0].name(), "labelled");
}

TEST_F(OverlayReaderTest, AReplacedObjectIsShownAsItIsGiven) {
  OverlayReader view(*store_);
  kube::Object decided = config_map("both", "2");
  decided.json()["status"] = {{"targetVmName", "web"}};
  view.replace(kConfigMap, decided);
  EXPECT_EQ(view.get(kConfigMap, {"n", "both"}, {})->json(), decided.json());
}

}  // namespace
}  // namespace vmferry::cli
