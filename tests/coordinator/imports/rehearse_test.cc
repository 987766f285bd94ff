#include "coordinator/imports/rehearse.h"

#include <gmock/gmock.h>

#include <functional>

#include "tests/coordinator/embedded/store_support.h"
#include "tests/coordinator/imports/scene.h"

// What a rehearsal tells, against the embedded store and a source that answers from memory.
namespace vmferry::imports {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What the source was asked for; a rehearsal may only read, and must end its session.
struct SourceLog {
  int reads = 0, touches = 0, open_sessions = 0;
  std::optional<VmRef> asked;
  std::function<SourceVm(const VmRef&)> answer_to;  // in the place of one answer to all
};

class MemoryProvider final : public Provider {
 public:
  MemoryProvider(Result<SourceVm> answer, SourceLog& log) : answer_(std::move(answer)), log_(log) {
    ++log_.open_sessions;
  }
  ProviderKind kind() const override { return ProviderKind::Vmware; }
  Result<void> check_connection(std::stop_token) override { return {}; }
  Result<SourceVm> find_vm(const VmRef& ref, std::stop_token) override {
    ++log_.reads;
    log_.asked = ref;
    if (log_.answer_to) return log_.answer_to(ref);
    return answer_;
  }
  Result<PowerState> power_state(const std::string&, std::stop_token) override {
    return PowerState::Down;
  }
  Result<void> request_stop(const std::string&, bool, std::stop_token) override { return touch(); }
  Result<void> start(const std::string&, std::stop_token) override { return touch(); }
  Result<DiskOpening> open_disk(const SourceVm&, const SourceDisk&, const std::string&,
                                std::stop_token) override {
    return touch();
  }
  Result<DiskOpening> poll_disk(const SourceVm&, const SourceDisk&, const std::string&,
                                std::stop_token) override {
    return touch();
  }
  Result<DiskOpening> renew(const SourceVm&, const SourceDisk&, const std::string&,
                            std::stop_token) override {
    return touch();
  }
  Result<bool> release_disk(const std::string&, const std::string&, const std::string&, bool,
                            std::stop_token) override {
    return touch();
  }
  void close() override { --log_.open_sessions; }

 private:
  Error touch() {
    ++log_.touches;
    return make_error(ErrorKind::Internal, "a rehearsal touched the source");
  }

  Result<SourceVm> answer_;
  SourceLog& log_;
};

class RehearseTest : public embedded::StoreFixture {
 protected:
  void SetUp() override {
    make(kube::types::kSecret,
         kube::Object(json{{"metadata", {{"name", "s"}, {"namespace", "n"}}},
                           {"stringData",
                            {{"vmware",
                              "apiUrl: https://vcenter/sdk\nusername: u\npassword: p\n"
                              "thumbprint: "
                              "31:14:EB:9E:F1:78:68:10:A5:78:D1:A7:DF:BB:54:B7:1B:91:9F:30\n"}}}}));
    make(kube::types::kStorageClass,
         kube::Object(
             json{{"metadata",
                   {{"name", "standard"},
                    {"annotations", {{"storageclass.kubernetes.io/is-default-class", "true"}}}}},
                  {"provisioner", "vmferry.io/directory"}}));
  }

  static api::VirtualMachineImport import_of(json spec) {
    json whole{
        {"providerCredentialsSecret", {{"name", "s"}}},
        {"source",
         {{"vmware",
           {{"vm", {{"name", "two-disk"}}},
            {"mappings",
             {{"networkMappings",
               json::array({{{"source", {{"name", "VM Network"}}}, {"type", "pod"}}})}}}}}}}};
    whole.merge_patch(spec);
    auto import = api::parse_import(
        kube::Object(json{{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                          {"kind", "VirtualMachineImport"},
                          {"metadata", {{"name", "a"}, {"namespace", "n"}, {"uid", scenes::kUid}}},
                          {"spec", whole}}));
    EXPECT_TRUE(import) << (import ? "" : to_string(import.error()));
    return *import;
  }

  DryRun rehearsed(const api::VirtualMachineImport& import, Result<SourceVm> source) {
    const RehearsalParts parts{
        .reader = *store_,
        .scope = {},
        .stop = {},
        .writer = *store_,
        .make_provider = [&](const ProviderCredentials&) -> Result<std::unique_ptr<Provider>> {
          return std::unique_ptr<Provider>(new MemoryProvider(source, log_));
        },
        .bytes_per_second = 1e6,
        .vddk = vddk_};
    auto run = rehearse(parts, import);
    EXPECT_TRUE(run) << (run ? "" : to_string(run.error()));
    EXPECT_EQ(log_.touches, 0);
    EXPECT_EQ(log_.open_sessions, 0);
    return *std::move(run);
  }

  static std::vector<std::string> blocks(const DryRun& run) {
    std::vector<std::string> rules;
    for (const Finding& finding : run.findings) {
      if (finding.level == FindingLevel::Block) rules.push_back(finding.rule);
    }
    return rules;
  }

  SourceLog log_;
  std::optional<bool> vddk_;
};

TEST_F(RehearseTest, DecidesAsTheReconcilerAndWritesNothing) {
  const DryRun run = rehearsed(import_of(json::object()), scenes::vmware().vm);
  EXPECT_THAT(blocks(run), IsEmpty());
  EXPECT_EQ(run.verdict, Verdict::Runs) << run.unknown_why;
  EXPECT_EQ(run.vm_name, "two-disk");
  ASSERT_TRUE(run.vm);
  EXPECT_EQ(run.disks.size(), 2u);
  EXPECT_EQ(log_.reads, 1);
  const auto made = store_->list(kube::types::kVirtualMachine, {}, {});
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->items.empty());
}

TEST_F(RehearseTest, AsksForTheSourceAsTheImportWould) {
  api::VirtualMachineImport import = import_of(json::object());
  rehearsed(import, scenes::vmware().vm);
  ASSERT_TRUE(log_.asked);
  EXPECT_FALSE(log_.asked->may_cut_power);
  EXPECT_FALSE(log_.asked->vddk);
  EXPECT_TRUE(log_.asked->ways.empty());
  import.object.json()["metadata"]["annotations"] = {{std::string(api::kPowerOffAfter), "600"},
                                                     { std::string(api::kDiskSources),
                                                       R"({"Hard disk 1": "vddk"})" }};
  rehearsed(import, scenes::vmware().vm);
  EXPECT_TRUE(log_.asked->may_cut_power);
  EXPECT_EQ(log_.asked->ways, (DiskWays{{"Hard disk 1", DiskWay::Vddk}}));
  EXPECT_FALSE(log_.asked->vddk) << "asking for it gives it to no agent";
}

TEST_F(RehearseTest, WhereVddkWouldHelpTheVerdictIsOpenUnlessTheAgentsAreKnown) {
  log_.answer_to = [](const VmRef& ref) {
    SourceVm vm = scenes::vmware().vm;
    const Finding encrypted{"vmware.vm.encryption",
                            ref.vddk ? FindingLevel::Warn : FindingLevel::Block,
                            FindingGroup::Rules, "disk 'one' is encrypted", "decrypt it"};
    vm.findings.push_back(encrypted);
    return vm;
  };
  const auto import = import_of(json::object());
  DryRun run = rehearsed(import, scenes::vmware().vm);
  EXPECT_EQ(run.verdict, Verdict::Unknown);
  EXPECT_THAT(run.unknown_why, AllOf(HasSubstr("VDDK"), HasSubstr("disk 'one' is encrypted")));
  EXPECT_THAT(blocks(run), IsEmpty());
  vddk_ = false;
  run = rehearsed(import, scenes::vmware().vm);
  EXPECT_EQ(run.verdict, Verdict::Blocked);
  EXPECT_THAT(blocks(run), ElementsAre("vmware.vm.encryption"));
  vddk_ = true;
  run = rehearsed(import, scenes::vmware().vm);
  EXPECT_EQ(run.verdict, Verdict::Runs) << run.unknown_why;

  vddk_.reset();
  log_.answer_to = [](const VmRef&) {
    SourceVm vm = scenes::vmware().vm;
    vm.findings.push_back({"vmware.disk.backing", FindingLevel::Block, FindingGroup::Rules,
                           "disk 'one' cannot be read by 'https'", "leave it"});
    return vm;
  };
  run = rehearsed(import, scenes::vmware().vm);
  EXPECT_EQ(run.verdict, Verdict::Blocked) << "VDDK does not help";
  EXPECT_THAT(blocks(run), ElementsAre("vmware.disk.backing"));
}

TEST_F(RehearseTest, NamesTheRulesThatTheStatusWouldName) {
  const struct {
    json spec;
    const char* rule;
  } kCases[] = {{{{"targetVmName", "Not A Name"}}, "request.target_name"},
                {{{"resourceMapping", {{"name", "none"}}}}, "request.resource_mapping"},
                {{{"targetVmName", "taken"}}, "request.target_name.taken"}};
  make(kube::types::kVirtualMachine,
       kube::Object(json{{"metadata", {{"name", "taken"}, {"namespace", "n"}}}}));
  for (const auto& c : kCases) {
    const DryRun run = rehearsed(import_of(c.spec), scenes::vmware().vm);
    EXPECT_EQ(run.verdict, Verdict::Blocked) << c.rule;
    EXPECT_THAT(blocks(run), ElementsAre(c.rule));  // and each once
  }
}

TEST_F(RehearseTest, LevelsAreTheConfiguredOnesWhereTheSourceCannotBeRead) {
  const auto import =
      import_of({{"source",
                  {{"vmware",
                    {{"mappings",
                      {{"storageMappings", json::array({{{"source", {{"name", "ds"}}},
                                                         {"target", {{"name", "standard"}}},
                                                         {"type", "x"}}})}}}}}}}});
  const Error down(ErrorKind::Unavailable, "VMF-SRC-UNREACHABLE", "no answer");
  DryRun run = rehearsed(import, down);
  EXPECT_EQ(run.verdict, Verdict::Unknown);
  EXPECT_THAT(run.unknown_why, HasSubstr("no answer"));
  EXPECT_THAT(blocks(run), IsEmpty());

  make(kube::types::kConfigMap,
       kube::Object(
           json{{"metadata", {{"name", "vm-import-controller-config"}, {"namespace", "vmferry"}}},
                {"data", {{"severity.request.mapping.ignored_type", "block"}}}}));
  run = rehearsed(import, down);
  EXPECT_EQ(run.verdict, Verdict::Blocked);
  EXPECT_THAT(blocks(run), ElementsAre("request.mapping.ignored_type"));
}

TEST_F(RehearseTest, AClassThatNeedsAClusterBlocksWithoutOne) {
  make(kube::types::kStorageClass,
       kube::Object(json{{"metadata", {{"name", "ceph"}}}, {"provisioner", "rbd.csi.ceph.com"}}));
  json items = json::array();
  for (const char* disk : {"disk-202-0", "disk-202-1"}) {
    items.push_back({{"source", {{"name", disk}}}, {"target", {{"name", "ceph"}}}});
  }
  json spec;
  spec["source"]["vmware"]["mappings"]["diskMappings"] = items;
  const DryRun run = rehearsed(import_of(spec), scenes::vmware().vm);
  EXPECT_EQ(run.verdict, Verdict::Blocked);
  EXPECT_THAT(blocks(run), ElementsAre("VMF-DST-STORAGE-CLASS"));  // told once for both disks
}

TEST_F(RehearseTest, AWarmImportIsAskedAboutAtTheSourceToo) {
  const DryRun run = rehearsed(import_of({{"warm", true}}), scenes::vmware().vm);
  EXPECT_EQ(run.verdict, Verdict::Blocked);
  ASSERT_TRUE(log_.asked);
  EXPECT_TRUE(log_.asked->warm);
  EXPECT_THAT(blocks(run), ElementsAre("request.warm"));
}

}  // namespace
}  // namespace vmferry::imports
