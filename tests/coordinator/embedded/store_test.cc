#include <sys/stat.h>

#include "coordinator/embedded/object_rules.h"
#include "coordinator/embedded/rows.h"
#include "tests/coordinator/embedded/store_support.h"
#include "tests/support/places.h"

namespace vmferry::embedded {
namespace {

using kube::types::kConfigMap;
using kube::types::kSecret;
using kube::types::kVirtualMachineImport;
using nlohmann::json;

class StoreTest : public StoreFixture {};

TEST_F(StoreTest, CreateFillsInTheServersFields) {
  kube::Object wanted = import("web");
  wanted.json()["metadata"]["uid"] = "mine";
  wanted.json()["metadata"]["deletionTimestamp"] = "2020-01-01T00:00:00Z";
  wanted.json()["status"]["targetVmName"] = "x";
  const kube::Object made = make(kVirtualMachineImport, wanted);
  EXPECT_EQ(made.api_version(), "v2v.kubevirt.io/v1beta1");
  EXPECT_EQ(made.kind(), "VirtualMachineImport");
  EXPECT_EQ(made.uid().size(), 36U);
  EXPECT_EQ(made.creation_timestamp(), to_rfc3339(clock_.wall()));
  EXPECT_EQ(made.generation(), 1);
  EXPECT_FALSE(made.resource_version().empty());
  EXPECT_FALSE(made.deleting());
  EXPECT_FALSE(made.json().contains("status"));
  EXPECT_EQ(find("web", kVirtualMachineImport), made);
}

TEST_F(StoreTest, CreateRefusesATakenName) {
  make(kConfigMap, config_map("a"));
  EXPECT_EQ(store_->create(kConfigMap, config_map("a"), {}, {}).error().kind(),
            ErrorKind::AlreadyExists);
  make(kSecret, kube::Object(json{{"metadata", {{"name", "a"}, {"namespace", "n"}}}}));
}

TEST_F(StoreTest, GeneratesNames) {
  kube::Object wanted = config_map("");
  wanted.json()["metadata"].erase("name");
  wanted.json()["metadata"]["generateName"] = "vmimport.v2v.kubevirt.io";
  const std::string first = make(kConfigMap, wanted).name();
  const std::string second = make(kConfigMap, wanted).name();
  EXPECT_TRUE(first.starts_with("vmimport.v2v.kubevirt.io"));
  EXPECT_EQ(first.size(), std::string("vmimport.v2v.kubevirt.io").size() + 5);
  EXPECT_NE(first, second);
}

TEST_F(StoreTest, MakesNamespacesOnFirstUse) {
  make(kConfigMap, config_map("a"));
  ASSERT_TRUE(store_->get(kube::types::kNamespace, {"", "n"}, {}));
  const auto refused =
      store_->remove(kube::types::kNamespace, {"", "n"}, kube::Propagation::Background, {}, {});
  EXPECT_EQ(refused.error().kind(), ErrorKind::InvalidArgument);
  ASSERT_TRUE(remove("a"));
  EXPECT_TRUE(
      store_->remove(kube::types::kNamespace, {"", "n"}, kube::Propagation::Background, {}, {}));
}

TEST_F(StoreTest, RefusesMalformedMetadata) {
  const struct {
    const char* name;
    const char* metadata;
    const char* part;
  } cases[] = {
      {"upper case name", R"({"name": "Web"})", "metadata.name"},
      {"number as name", R"({"name": 7})", "metadata.name"},
      {"no name", R"({"name": null})", "metadata.name"},
      {"no namespace", R"({"namespace": null})", "metadata.namespace"},
      {"bad namespace", R"({"namespace": "a.b"})", "metadata.namespace"},
      {"label not a string", R"({"labels": {"a": true}})", "metadata.labels['a']"},
      {"label too long",
       R"({"labels": {"a": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}})",
       "metadata.labels['a']"},
      {"label key", R"({"labels": {"a/b/c": "x"}})", "metadata.labels"},
      {"finalizers", R"({"finalizers": "x"})", "metadata.finalizers"},
      {"owner without uid",
       R"({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]})", "uid"},
      {"two controllers",
       R"({"ownerReferences": [
           {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1", "controller": true},
           {"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "2", "controller": true}]})",
       "controller"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    kube::Object object = config_map("good");
    object.json()["metadata"].merge_patch(json::parse(c.metadata));
    const auto made = store_->create(kConfigMap, object, {}, {});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().kind(), ErrorKind::InvalidArgument);
    EXPECT_NE(made.error().message().find(c.part), std::string::npos) << made.error().message();
  }
}

TEST_F(StoreTest, RefusesAnotherKindAndVersion) {
  kube::Object object = config_map("a");
  object.json()["kind"] = "Secret";
  EXPECT_EQ(store_->create(kConfigMap, object, {}, {}).error().kind(), ErrorKind::InvalidArgument);
  kube::Object older = import("a");
  older.json()["apiVersion"] = "v2v.kubevirt.io/v1alpha1";
  EXPECT_EQ(make(kVirtualMachineImport, older).api_version(), "v2v.kubevirt.io/v1beta1");
}

TEST_F(StoreTest, PatchesByMergeAndCountsGenerations) {
  const kube::Object made = make(kVirtualMachineImport, import("web"));
  const auto spec = patch("web", R"({"spec": {"startVm": true}})", kVirtualMachineImport);
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->generation(), 2);
  EXPECT_NE(spec->resource_version(), made.resource_version());
  const auto label = patch("web", R"({"metadata": {"labels": {"a": "b"}}})", kVirtualMachineImport);
  ASSERT_TRUE(label);
  EXPECT_EQ(label->generation(), 2);
  const auto same = patch("web", R"({"spec": {"startVm": true}})", kVirtualMachineImport);
  EXPECT_EQ(*same, *label);
  const auto gone = patch("web", R"({"spec": {"startVm": null}})", kVirtualMachineImport);
  EXPECT_FALSE(gone->json()["spec"].contains("startVm"));
}

TEST_F(StoreTest, KeepsTheServersFieldsInPatches) {
  const kube::Object made = make(kVirtualMachineImport, import("web"));
  const auto after = patch("web", R"({"metadata": {"creationTimestamp": "2000-01-01T00:00:00Z",
      "deletionTimestamp": "2000-01-01T00:00:00Z", "generation": 9}, "status": {"targetVmName": "x"}})",
                           kVirtualMachineImport);
  ASSERT_TRUE(after);
  EXPECT_EQ(*after, made);
  for (const char* text :
       {R"({"metadata": {"name": "other"}})", R"({"metadata": {"namespace": "other"}})",
        R"({"kind": "Pod"})", R"({"metadata": null})", R"([])"}) {
    EXPECT_EQ(patch("web", text, kVirtualMachineImport).error().kind(), ErrorKind::InvalidArgument)
        << text;
  }
}

TEST_F(StoreTest, PreconditionsAbort) {
  const kube::Object made = make(kConfigMap, config_map("a"));
  ASSERT_TRUE(patch("a", R"({"data": {"a": "2"}})"));
  const std::string old = R"({"data": {"a": "3"}, "metadata": {"resourceVersion": ")" +
                          made.resource_version() + "\"}}";
  EXPECT_EQ(patch("a", old.c_str()).error().kind(), ErrorKind::Aborted);
  EXPECT_EQ(patch("a", R"({"metadata": {"uid": "x"}})").error().kind(), ErrorKind::Aborted);
  for (const kube::Preconditions& wrong :
       {kube::Preconditions{.uid = "x", .resource_version = ""},
        kube::Preconditions{.uid = "", .resource_version = made.resource_version()}}) {
    EXPECT_EQ(store_->remove(kConfigMap, {"n", "a"}, kube::Propagation::Background, wrong, {})
                  .error()
                  .kind(),
              ErrorKind::Aborted);
  }
  EXPECT_TRUE(store_->remove(kConfigMap, {"n", "a"}, kube::Propagation::Background,
                             {.uid = made.uid(), .resource_version = ""}, {}));
  EXPECT_EQ(remove("a").error().kind(), ErrorKind::NotFound);
  EXPECT_EQ(patch("a", "{}").error().kind(), ErrorKind::NotFound);
}

TEST_F(StoreTest, StatusIsWrittenApart) {
  make(kVirtualMachineImport, import("web"));
  const auto after = store_->patch_status(
      kVirtualMachineImport, {"n", "web"},
      json::parse(R"({"status": {"targetVmName": "t", "bogus": 1}, "spec": {"startVm": true},
                      "metadata": {"labels": {"a": "b"}}})"),
      {});
  ASSERT_TRUE(after) << to_string(after.error());
  EXPECT_EQ(after->json()["status"], json::parse(R"({"targetVmName": "t"})"));
  EXPECT_FALSE(after->json()["spec"].contains("startVm"));
  EXPECT_TRUE(after->labels().empty());
  EXPECT_EQ(after->generation(), 1);
  make(kConfigMap, config_map("a"));
  EXPECT_EQ(store_->patch_status(kConfigMap, {"n", "a"}, json::object(), {}).error().kind(),
            ErrorKind::InvalidArgument);
}

TEST_F(StoreTest, DryRunsChangeNothing) {
  const auto made = store_->create(kConfigMap, config_map("a"), {.dry_run = true}, {});
  ASSERT_TRUE(made);
  EXPECT_FALSE(made->uid().empty());
  EXPECT_FALSE(find("a"));
  const kube::Object real = make(kConfigMap, config_map("a"));
  ASSERT_TRUE(
      store_->patch(kConfigMap, {"n", "a"}, json{{"data", {{"b", "2"}}}}, {.dry_run = true}, {}));
  EXPECT_EQ(find("a"), real);
}

TEST_F(StoreTest, MergesStringDataOfSecrets) {
  const kube::Object made =
      make(kSecret, kube::Object(json::parse(R"({"metadata": {"name": "s", "namespace": "n"},
        "data": {"a": "MQ==", "b": "Mg=="}, "stringData": {"b": "three"}})")));
  EXPECT_EQ(made.json()["data"], json::parse(R"({"a": "MQ==", "b": "dGhyZWU="})"));
  EXPECT_FALSE(made.json().contains("stringData"));
  EXPECT_EQ(made.json()["type"], "Opaque");
  const auto after = patch("s", R"({"stringData": {"a": "x"}})", kSecret);
  EXPECT_EQ(after->json()["data"]["a"], "eA==");
  EXPECT_FALSE(patch("s", R"({"data": {"a": "%%"}})", kSecret));
}

TEST_F(StoreTest, TheFileIsPrivate) {
  for (const char* name : {"store.db", "store.db-wal", "store.db-shm"}) {
    struct stat state {};
    ASSERT_EQ(stat(dir_.path(name).c_str(), &state), 0) << name;
    EXPECT_EQ(state.st_mode & 0777, 0600U) << name;
  }
}

TEST_F(StoreTest, ListsByNamespaceAndLabel) {
  make(kConfigMap, config_map("a", {{"labels", {{"app", "x"}}}}));
  make(kConfigMap, config_map("b", {{"labels", {{"app", "y"}, {"e", ""}}}}));
  make(kConfigMap, config_map("c", {{"namespace", "other"}}));
  const struct {
    const char* ns;
    const char* selector;
    const char* names;
  } cases[] = {
      {"", "", "a b c"},  {"n", "", "a b"},      {"other", "", "c"},    {"nowhere", "", ""},
      {"", "app=x", "a"}, {"", "app==y", "b"},   {"", "app!=x", "b c"}, {"", "app", "a b"},
      {"", "!app", "c"},  {"", "app=y, e", "b"}, {"", "app=x,e", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.ns) + " " + c.selector);
    const auto list = store_->list(kConfigMap, {.ns = c.ns, .label_selector = c.selector}, {});
    ASSERT_TRUE(list);
    std::string names;
    for (const kube::Object& object : list->items) {
      names += (names.empty() ? "" : " ") + object.name();
    }
    EXPECT_EQ(names, c.names);
  }
  for (const char* bad : {"=", "a in (b)", "a,,b", "!"}) {
    EXPECT_EQ(store_->list(kConfigMap, {.ns = "", .label_selector = bad}, {}).error().kind(),
              ErrorKind::InvalidArgument)
        << bad;
  }
}

TEST_F(StoreTest, HoldsTenThousandObjects) {
  const auto watch = store_->watch(kConfigMap, {}, "1", {});
  {
    // In one transaction: ten thousand synchronous commits would measure the disk.
    const auto connection = Connection::open(dir_.path("store.db"));
    auto transaction = Transaction::begin(**connection);
    for (int i = 0; i < 10'000; ++i) {
      Row row{"configmaps",
              *for_create(kConfigMap, config_map("c" + std::to_string(i)), clock_.wall())};
      ASSERT_TRUE(insert(**connection, row));
    }
    ASSERT_TRUE(transaction->commit());
  }
  EXPECT_EQ(store_->list(kConfigMap, {}, {})->items.size(), 10'000U);
  EXPECT_TRUE(find("c9999"));
  for (int i = 0; i < 10'000; ++i) {
    const auto event = (*watch)->next(std::chrono::seconds(10), {});
    ASSERT_TRUE(event && *event);
    EXPECT_EQ((*event)->object.name(), "c" + std::to_string(i));
  }
}

TEST_F(StoreTest, StopsWhenAsked) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(store_->get(kConfigMap, {"n", "a"}, stop.get_token()).error().kind(),
            ErrorKind::Canceled);
  EXPECT_EQ(store_->create(kConfigMap, config_map("a"), {}, stop.get_token()).error().kind(),
            ErrorKind::Canceled);
}

TEST_F(StoreTest, RefusesAFileOfAnotherFormat) {
  const auto text = Store::open(testing::source_dir() + "/no/such/place/store.db", clock_);
  EXPECT_FALSE(text);
  ASSERT_EQ(::system(("printf 'not a database, but long enough to be read as a header............"
                      "......................................' > " +
                      dir_.path("other.db"))
                         .c_str()),
            0);
  EXPECT_EQ(Store::open(dir_.path("other.db"), clock_).error().kind(), ErrorKind::DataLoss);
}

}  // namespace
}  // namespace vmferry::embedded
