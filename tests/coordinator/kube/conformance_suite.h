#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

// What every kube::Reader and kube::Writer promises, run against the embedded store and against a
// real API server. Collection of dependents takes a moment on a cluster, so results are waited for.
namespace vmferry::kube {

// One implementation, with a namespace of the test's own.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual Reader& reader() = 0;
  virtual Writer& writer() = 0;
  virtual std::string ns() const = 0;
  // Makes every version of before unusable for a watch.
  virtual void forget_history() = 0;
};
using MakeBackend = std::function<std::unique_ptr<Backend>(std::string& skip_reason)>;

class ConformanceTest : public ::testing::TestWithParam<MakeBackend> {
 protected:
  void SetUp() override {
    std::string skip_reason;
    backend_ = GetParam()(skip_reason);
    if (!skip_reason.empty()) GTEST_SKIP() << skip_reason;
    ASSERT_NE(backend_, nullptr);
    ns_ = backend_->ns();
  }
  Object config_map(const std::string& name,
                    const nlohmann::json& metadata = nlohmann::json::object()) const {
    nlohmann::json all{{"metadata", {{"name", name}, {"namespace", ns_}}}, {"data", {{"a", "1"}}}};
    all["metadata"].merge_patch(metadata);
    return Object(all);
  }
  Object import(const std::string& name) const {
    return Object(nlohmann::json{{"metadata", {{"name", name}, {"namespace", ns_}}},
                                 {"spec",
                                  {{"providerCredentialsSecret", {{"name", "s"}}},
                                   {"source", {{"vmware", {{"vm", {{"name", "web"}}}}}}}}}});
  }
  Object make(const ResourceType& type, const Object& object) {
    Result<Object> made = backend_->writer().create(type, object, {}, {});
    EXPECT_TRUE(made.ok()) << to_string(made.error());
    return made ? *made : Object();
  }
  Object make_owned(const std::string& name, const Object& owner, bool block = false,
                    nlohmann::json metadata = nlohmann::json::object()) {
    metadata["ownerReferences"].push_back({{"apiVersion", "v1"},
                                           {"kind", "ConfigMap"},
                                           {"name", owner.name()},
                                           {"uid", owner.uid()},
                                           {"blockOwnerDeletion", block}});
    return make(types::kConfigMap, config_map(name, metadata));
  }
  std::optional<Object> find(const std::string& name,
                             const ResourceType& type = types::kConfigMap) {
    Result<std::optional<Object>> found = get_if_exists(backend_->reader(), type, {ns_, name}, {});
    EXPECT_TRUE(found.ok());
    return found ? *found : std::nullopt;
  }
  Result<Object> patch(const std::string& name, const nlohmann::json& body,
                       const ResourceType& type = types::kConfigMap) {
    return backend_->writer().patch(type, {ns_, name}, body, {}, {});
  }
  Result<void> remove(const std::string& name, Propagation propagation = Propagation::Background,
                      const Preconditions& preconditions = {}) {
    return backend_->writer().remove(types::kConfigMap, {ns_, name}, propagation, preconditions,
                                     {});
  }
  // Whether it comes true within half a minute.
  static bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 600; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  std::string names(const std::string& selector) {
    const auto list =
        backend_->reader().list(types::kConfigMap, {.ns = ns_, .label_selector = selector}, {});
    if (!list) return to_string(list.error());
    std::string text;
    for (const Object& object : list->items) {
      if (object.name() == "kube-root-ca.crt") continue;  // a cluster puts it everywhere
      text += (text.empty() ? "" : " ") + object.name();
    }
    return text;
  }
  std::unique_ptr<Watch> watch(const std::string& version, const std::string& selector = "") {
    auto watch = backend_->reader().watch(types::kConfigMap,
                                          {.ns = ns_, .label_selector = selector}, version, {});
    EXPECT_TRUE(watch.ok());
    return watch ? *std::move(watch) : nullptr;
  }
  std::string version_now() {
    const auto list =
        backend_->reader().list(types::kConfigMap, {.ns = ns_, .label_selector = ""}, {});
    return list ? list->resource_version : "";
  }
  // "+a ~a -a": the next `count` events that are no bookmarks.
  static std::string events(Watch& watch, int count) {
    std::string seen;
    while (count > 0) {
      const auto event = watch.next(std::chrono::seconds(20), {});
      if (!event) return seen + "!" + std::string(to_string(event.error().kind()));
      if (!*event) return seen + "...";
      const Object& object = (*event)->object;
      if ((*event)->type == EventType::Bookmark || object.name() == "kube-root-ca.crt") continue;
      const char* sign = (*event)->type == EventType::Added      ? "+"
                         : (*event)->type == EventType::Modified ? "~"
                                                                 : "-";
      seen += (seen.empty() ? "" : " ") + (sign + object.name());
      --count;
    }
    return seen;
  }

  std::unique_ptr<Backend> backend_;
  std::string ns_;
};

TEST_P(ConformanceTest, CreateFillsInTheServersFields) {
  Object wanted = import("web");
  wanted.json()["status"]["targetVmName"] = "x";
  wanted.json()["metadata"]["uid"] = "mine";
  wanted.json()["metadata"]["resourceVersion"] = "7";
  const Object made = make(types::kVirtualMachineImport, wanted);
  EXPECT_EQ(made.api_version(), "v2v.kubevirt.io/v1beta1");
  EXPECT_EQ(made.kind(), "VirtualMachineImport");
  EXPECT_EQ(made.uid().size(), 36U);
  EXPECT_EQ(made.generation(), 1);
  EXPECT_FALSE(made.creation_timestamp().empty());
  EXPECT_FALSE(made.json().contains("status"));
  EXPECT_FALSE(made.json()["metadata"].contains("managedFields"));
  EXPECT_EQ(find("web", types::kVirtualMachineImport), made);
}

TEST_P(ConformanceTest, ItemsOfAListSayWhatTheyAre) {
  make(types::kConfigMap, config_map("a"));
  const auto list =
      backend_->reader().list(types::kConfigMap, {.ns = ns_, .label_selector = ""}, {});
  ASSERT_TRUE(list.ok());
  ASSERT_FALSE(list->items.empty());
  for (const Object& object : list->items) {
    EXPECT_EQ(object.kind(), "ConfigMap");
    EXPECT_EQ(object.api_version(), "v1");
  }
}

TEST_P(ConformanceTest, TellsWhatIsWrongByKind) {
  make(types::kConfigMap, config_map("a"));
  Writer& writer = backend_->writer();
  EXPECT_EQ(writer.create(types::kConfigMap, config_map("a"), {}, {}).error().kind(),
            ErrorKind::AlreadyExists);
  EXPECT_EQ(patch("none", {{"data", {{"a", "2"}}}}).error().kind(), ErrorKind::NotFound);
  EXPECT_EQ(remove("none").error().kind(), ErrorKind::NotFound);
  EXPECT_EQ(backend_->reader().get(types::kConfigMap, {ns_, "none"}, {}).error().kind(),
            ErrorKind::NotFound);
  EXPECT_EQ(backend_->reader().get(types::kConfigMap, {"", "a"}, {}).error().kind(),
            ErrorKind::InvalidArgument);
  EXPECT_EQ(backend_->reader().get(types::kNamespace, {ns_, "a"}, {}).error().kind(),
            ErrorKind::InvalidArgument);
  EXPECT_EQ(writer.create(types::kConfigMap, config_map("Upper"), {}, {}).error().kind(),
            ErrorKind::InvalidArgument);
}

TEST_P(ConformanceTest, GeneratesNames) {
  Object wanted = config_map("");
  wanted.json()["metadata"].erase("name");
  wanted.json()["metadata"]["generateName"] = "vmimport.v2v.kubevirt.io";
  const std::string first = make(types::kConfigMap, wanted).name();
  const std::string second = make(types::kConfigMap, wanted).name();
  EXPECT_EQ(first.size(), std::string("vmimport.v2v.kubevirt.io").size() + 5);
  EXPECT_NE(first, second);
}

TEST_P(ConformanceTest, PatchesByMerge) {
  const Object made = make(types::kVirtualMachineImport, import("web"));
  const auto type = types::kVirtualMachineImport;
  const auto spec = patch("web", {{"spec", {{"startVm", true}}}}, type);
  ASSERT_TRUE(spec.ok()) << to_string(spec.error());
  EXPECT_EQ(spec->generation(), 2);
  EXPECT_NE(spec->resource_version(), made.resource_version());
  const auto label = patch("web", {{"metadata", {{"labels", {{"a", "b"}}}}}}, type);
  ASSERT_TRUE(label.ok());
  EXPECT_EQ(label->generation(), 2);
  const auto same = patch("web", {{"spec", {{"startVm", true}}}}, type);
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(*same, *label);
  const auto gone = patch("web", {{"spec", {{"startVm", nullptr}}}}, type);
  ASSERT_TRUE(gone.ok());
  EXPECT_FALSE(gone->json()["spec"].contains("startVm"));
}

TEST_P(ConformanceTest, PreconditionsAbort) {
  const Object made = make(types::kConfigMap, config_map("a"));
  ASSERT_TRUE(patch("a", {{"data", {{"a", "2"}}}}).ok());
  EXPECT_EQ(patch("a", {{"data", {{"a", "3"}}},
                        {"metadata", {{"resourceVersion", made.resource_version()}}}})
                .error()
                .kind(),
            ErrorKind::Aborted);
  EXPECT_EQ(
      remove("a", Propagation::Background, {.uid = "x", .resource_version = ""}).error().kind(),
      ErrorKind::Aborted);
  EXPECT_EQ(
      remove("a", Propagation::Background, {.uid = "", .resource_version = made.resource_version()})
          .error()
          .kind(),
      ErrorKind::Aborted);
  EXPECT_TRUE(
      remove("a", Propagation::Background, {.uid = made.uid(), .resource_version = ""}).ok());
}

TEST_P(ConformanceTest, StatusIsWrittenApart) {
  const auto type = types::kVirtualMachineImport;
  const Object made = make(type, import("web"));
  Writer& writer = backend_->writer();
  const nlohmann::json body{{"status", {{"targetVmName", "t"}, {"bogus", 1}}},
                            {"spec", {{"startVm", true}}},
                            {"metadata", {{"labels", {{"a", "b"}}}}}};
  const auto after = writer.patch_status(type, {ns_, "web"}, body, {});
  ASSERT_TRUE(after.ok()) << to_string(after.error());
  EXPECT_EQ(after->json()["status"], (nlohmann::json{{"targetVmName", "t"}}));
  EXPECT_FALSE(after->json()["spec"].contains("startVm"));
  EXPECT_TRUE(after->labels().empty());
  EXPECT_EQ(after->generation(), 1);
  const auto kept = patch("web", {{"status", {{"targetVmName", "u"}}}}, type);
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->json()["status"]["targetVmName"], "t");
  const nlohmann::json stale{{"status", {{"targetVmName", "v"}}},
                             {"metadata", {{"resourceVersion", made.resource_version()}}}};
  EXPECT_EQ(writer.patch_status(type, {ns_, "web"}, stale, {}).error().kind(), ErrorKind::Aborted);
}

TEST_P(ConformanceTest, DryRunsChangeNothing) {
  Writer& writer = backend_->writer();
  const auto made = writer.create(types::kConfigMap, config_map("a"), {.dry_run = true}, {});
  ASSERT_TRUE(made.ok()) << to_string(made.error());
  EXPECT_FALSE(find("a"));
  const Object real = make(types::kConfigMap, config_map("a"));
  const auto patched =
      writer.patch(types::kConfigMap, {ns_, "a"}, {{"data", {{"b", "2"}}}}, {.dry_run = true}, {});
  ASSERT_TRUE(patched.ok());
  EXPECT_EQ(patched->json()["data"]["b"], "2");
  EXPECT_EQ(find("a"), real);
}

TEST_P(ConformanceTest, RefusesTheSameImportsWithTheSameWords) {
  const struct {
    const char* name;
    const char* patch;
    const char* text;
  } cases[] = {
      {"API-61: both sources set", R"({"spec": {"source": {"ovirt": {"vm": {"id": "i"}}}}})",
       "must have exactly one of ovirt, vmware; it has ovirt, vmware"},
      {"API-62: no source set", R"({"spec": {"source": {"vmware": null}}})",
       "must have exactly one of ovirt, vmware; it has none"},
      {"ADM-2: neither id nor name",
       R"({"spec": {"source": {"vmware": {"vm": {"id": "", "name": null}}}}})",
       "needs an id or a name"},
      {"API-60: targetVmName of 64 characters",
       R"({"spec": {"targetVmName":
           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}})",
       "spec.targetVmName"},
      {"no secret", R"({"spec": {"providerCredentialsSecret": null}})",
       "spec.providerCredentialsSecret"},
      {"ADM-9: type of network",
       R"({"spec": {"source": {"vmware": {"mappings": {"networkMappings": [
           {"source": {"name": "n"}, "type": "genie"}]}}}}})",
       "networkMappings[0].type"},
      {"ADM-12: volume mode",
       R"({"spec": {"source": {"vmware": {"mappings": {"diskMappings": [
           {"source": {"name": "n"}, "target": {"name": ""}, "volumeMode": "block"}]}}}}})",
       "diskMappings[0].volumeMode"},
      {"a scalar target",
       R"({"spec": {"source": {"vmware": {"mappings": {"networkMappings": [
           {"source": {"name": "n"}, "target": "pod"}]}}}}})",
       "networkMappings[0].target"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Object object = import("bad");
    object.json().merge_patch(nlohmann::json::parse(c.patch));
    const auto made = backend_->writer().create(types::kVirtualMachineImport, object, {}, {});
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().kind(), ErrorKind::InvalidArgument);
    EXPECT_NE(made.error().message().find(c.text), std::string::npos) << made.error().message();
  }
}

TEST_P(ConformanceTest, FinalizersHoldAnObject) {
  make(types::kConfigMap, config_map("a", {{"finalizers", {"x.io/f"}}}));
  ASSERT_TRUE(remove("a").ok());
  ASSERT_TRUE(find("a"));
  EXPECT_TRUE(find("a")->deleting());
  ASSERT_TRUE(remove("a").ok());  // again: as it was
  EXPECT_FALSE(patch("a", {{"metadata", {{"finalizers", {"x.io/f", "x.io/g"}}}}}).ok());
  ASSERT_TRUE(patch("a", {{"metadata", {{"finalizers", nullptr}}}}).ok());
  EXPECT_FALSE(find("a"));
}

TEST_P(ConformanceTest, BackgroundTakesWhatNobodyElseOwns) {
  const Object a = make(types::kConfigMap, config_map("a"));
  const Object child = make_owned("child", a);
  make_owned("grandchild", child);
  make(types::kConfigMap, config_map("bystander"));
  ASSERT_TRUE(remove("a").ok());
  EXPECT_TRUE(eventually([&] { return names("") == "bystander"; })) << names("");
}

TEST_P(ConformanceTest, OrphanKeepsTheDependents) {
  const Object a = make(types::kConfigMap, config_map("a"));
  make_owned("child", a);
  ASSERT_TRUE(remove("a", Propagation::Orphan).ok());
  ASSERT_TRUE(eventually([&] { return !find("a"); }));
  ASSERT_TRUE(find("child"));
  EXPECT_TRUE(find("child")->owners().empty());
}

TEST_P(ConformanceTest, ForegroundWaitsForBlockingDependents) {
  const Object a = make(types::kConfigMap, config_map("a"));
  make_owned("blocker", a, true, {{"finalizers", {"x.io/f"}}});
  ASSERT_TRUE(remove("a", Propagation::Foreground).ok());
  ASSERT_TRUE(eventually([&] { return find("blocker")->deleting(); }));
  ASSERT_TRUE(find("a"));
  EXPECT_TRUE(find("a")->deleting());
  EXPECT_TRUE(find("a")->has_finalizer("foregroundDeletion"));
  ASSERT_TRUE(patch("blocker", {{"metadata", {{"finalizers", nullptr}}}}).ok());
  EXPECT_TRUE(eventually([&] { return !find("blocker") && !find("a"); }));
}

TEST_P(ConformanceTest, ListsByLabel) {
  make(types::kConfigMap, config_map("a", {{"labels", {{"app", "x"}}}}));
  make(types::kConfigMap, config_map("b", {{"labels", {{"app", "y"}, {"e", ""}}}}));
  make(types::kConfigMap, config_map("c"));
  EXPECT_EQ(names(""), "a b c");
  EXPECT_EQ(names("app=x"), "a");
  EXPECT_EQ(names("app!=x"), "b c");
  EXPECT_EQ(names("app"), "a b");
  EXPECT_EQ(names("!app"), "c");
  EXPECT_EQ(names("app=y,e"), "b");
  EXPECT_EQ(names("app=y,!e"), "");
  const auto bad =
      backend_->reader().list(types::kConfigMap, {.ns = ns_, .label_selector = "a,,b"}, {});
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().kind(), ErrorKind::InvalidArgument);
}

TEST_P(ConformanceTest, AWatchContinuesAList) {
  make(types::kConfigMap, config_map("a"));
  const auto seen = watch(version_now());
  make(types::kConfigMap, config_map("b"));
  ASSERT_TRUE(patch("a", {{"data", {{"x", "y"}}}}).ok());
  ASSERT_TRUE(remove("a").ok());
  EXPECT_EQ(events(*seen, 3), "+b ~a -a");
}

TEST_P(ConformanceTest, AWatchBeginsWithTheStateWhenNoVersionIsGiven) {
  make(types::kConfigMap, config_map("a"));
  const auto seen = watch("");
  EXPECT_EQ(events(*seen, 1), "+a");
}

TEST_P(ConformanceTest, AWatchFollowsTheSelector) {
  const auto seen = watch(version_now(), "on");
  make(types::kConfigMap, config_map("a"));
  ASSERT_TRUE(patch("a", {{"metadata", {{"labels", {{"on", ""}}}}}}).ok());
  ASSERT_TRUE(patch("a", {{"data", {{"x", "y"}}}}).ok());
  ASSERT_TRUE(patch("a", {{"metadata", {{"labels", {{"on", nullptr}}}}}}).ok());
  EXPECT_EQ(events(*seen, 3), "+a ~a -a");
}

TEST_P(ConformanceTest, AWatchStopsWhenAsked) {
  const auto seen = watch(version_now());
  std::stop_source stop;
  const std::jthread thread([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop.request_stop();
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(seen->next(std::chrono::seconds(30), stop.get_token()).error().kind(),
            ErrorKind::Canceled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_P(ConformanceTest, AForgottenVersionIsAborted) {
  make(types::kConfigMap, config_map("a"));
  const std::string old = version_now();
  ASSERT_TRUE(patch("a", {{"data", {{"a", "2"}}}}).ok());
  backend_->forget_history();
  make(types::kConfigMap, config_map("b"));
  const auto seen = watch(old);
  ASSERT_NE(seen, nullptr);
  EXPECT_EQ(events(*seen, 1), "!Aborted");
}

}  // namespace vmferry::kube
