#include "coordinator/imports/disk_openings.h"

#include <gmock/gmock.h>

#include <chrono>
#include <functional>
#include <thread>

#include "coordinator/imports/disk_moves.h"
#include "tests/coordinator/fleet/fake_agent.h"
#include "tests/coordinator/imports/step_fixture.h"

// What a source is asked for when a disk is to be read. The source answers from memory.
namespace vmferry::imports {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// What it was asked to open.
class AskedProvider final : public Provider {
 public:
  std::vector<SourceDisk> asked;
  std::optional<Error> refuses;
  std::optional<VmRef> read;
  std::vector<std::string> released;  // "HANDLE done", or "HANDLE dropped"
  std::optional<Error> keeps;         // what it is released from, if it does not let go

  ProviderKind kind() const override { return ProviderKind::Vmware; }
  Result<void> check_connection(std::stop_token) override { return {}; }
  Result<SourceVm> find_vm(const VmRef& ref, std::stop_token) override {
    read = ref;
    return scenes::vmware().vm;
  }
  Result<PowerState> power_state(const std::string&, std::stop_token) override {
    return PowerState::Down;
  }
  Result<void> request_stop(const std::string&, bool, std::stop_token) override {
    return nothing();
  }
  Result<void> start(const std::string&, std::stop_token) override { return nothing(); }
  Result<DiskOpening> open_disk(const SourceVm&, const SourceDisk& disk, const std::string&,
                                std::stop_token) override {
    asked.push_back(disk);
    if (refuses) return *refuses;
    DiskEndpoint endpoint;
    endpoint.kind = disk.vddk ? SourceKind::NbdkitVddk : SourceKind::HttpRange;
    endpoint.size_bytes = disk.size_bytes;
    return DiskOpening{.handle = "",
                       .endpoint = std::move(endpoint),
                       .why = "a test",
                       .source_host = "esx" + std::to_string(asked.size())};
  }
  Result<DiskOpening> poll_disk(const SourceVm& vm, const SourceDisk& disk, const std::string&,
                                std::stop_token stop) override {
    return open_disk(vm, disk, "", stop);
  }
  Result<DiskOpening> renew(const SourceVm&, const SourceDisk&, const std::string&,
                            std::stop_token) override {
    return nothing();
  }
  Result<bool> release_disk(const std::string& handle, const std::string&, const std::string&,
                            bool success, std::stop_token) override {
    if (keeps) return *keeps;
    released.push_back(handle + (success ? " done" : " dropped"));
    return true;
  }
  void close() override {}

 private:
  static Error nothing() { return make_error(ErrorKind::Unimplemented, "not of this test"); }
};

class DiskOpeningsTest : public StepFixture {
 protected:
  DiskOpeningsTest() : provider_(std::make_shared<AskedProvider>()) {
    first_ = memory_.vm->disks.at(0);
    second_ = memory_.vm->disks.at(1);
  }
  void ask_for(const json& sources) {
    patch_import({{"metadata", {{"annotations", {{api::kDiskSources, sources.dump()}}}}}});
  }
  // Opens the disk with nothing remembered; what the provider was asked for.
  std::optional<SourceDisk> opened_anew(const SourceDisk& disk) {
    memory_.openings.clear();
    provider_->asked.clear();
    in_pass([&](Pass& pass) { EXPECT_TRUE(opened(pass, disk)); });
    if (provider_->asked.empty()) return std::nullopt;
    return provider_->asked.back();
  }
  void in_pass(const std::function<void(Pass&)>& work) {
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    ASSERT_TRUE(parsed) << to_string(parsed.error());
    auto ledger = ledger_of(parsed->object);
    ASSERT_TRUE(ledger) << to_string(ledger.error());
    Pass pass(*parts_, *std::move(parsed), *std::move(ledger), memory_, {});
    pass.provider = provider_;
    work(pass);
  }
  // As "way", and "+vddk" where the provider is told that it can be had.
  std::string asked_for(const SourceDisk& disk) {
    const std::optional<SourceDisk> asked = opened_anew(disk);
    if (!asked) return "nobody";
    EXPECT_EQ(asked->id, disk.id);
    return std::string(to_string(asked->way)) + (asked->vddk ? "+vddk" : "");
  }
  std::string asked_for_both() { return asked_for(first_) + " " + asked_for(second_); }

  // An import whose disks are both read through one export lease, as its ledger has it; and which
  // of them are done. Nothing of it is in memory.
  void leased(const char* first_phase, const char* second_phase) {
    ImportPlan plan;
    plan.vm_name = "web";
    json disks = json::array();
    Ledger ledger;
    for (const auto& [disk, phase] : {std::pair(first_, first_phase), {second_, second_phase}}) {
      PlannedDisk planned;
      planned.source_id = disk.id;
      planned.name = disk.name;
      planned.claim = "claim-" + disk.id;
      planned.size_bytes = disk.size_bytes;
      disks.push_back({{"name", disk.name},
                       {"sourceDisk", disk.id},
                       {"claim", planned.claim},
                       {"phase", phase}});
      plan.disks.push_back(std::move(planned));
      ledger.openings[disk.id] = "lease:web:1";
    }
    memory_.plan = std::move(plan);
    patch_import({{"metadata", {{"annotations", {{api::kLedger, to_text(ledger)}}}}}});
    ASSERT_TRUE(store_->patch_status(kube::types::kVirtualMachineImport, import_.key(),
                                     {{"status", {{"disks", disks}}}}, {}));
  }
  // One pass over a disk that is done.
  Result<StepResult> move_done(std::size_t index) {
    Result<StepResult> result = StepResult::done();
    in_pass([&](Pass& pass) {
      MoveTotals totals;
      result = move_disk(pass, index, totals);
    });
    return result;
  }
  std::size_t entries() {
    return ledger_of(*find("web", kube::types::kVirtualMachineImport))->openings.size();
  }

  std::shared_ptr<AskedProvider> provider_;
  SourceDisk first_, second_;
};

TEST_F(DiskOpeningsTest, EachDiskGoesTheWayThatIsAskedForIt) {
  EXPECT_EQ(asked_for_both(), "automatic automatic");
  ask_for({{first_.name, "vddk"}});
  EXPECT_EQ(asked_for_both(), "vddk+vddk automatic") << "the other goes by what the agents have";
  ask_for({{first_.id, "https"}, {"*", "export"}});
  EXPECT_EQ(asked_for_both(), "https export");
  ask_for({{first_.id, "nbd://array:10809/disk"}, {"*", "vddk"}});
  EXPECT_EQ(asked_for_both(), "nobody vddk+vddk");
}

TEST_F(DiskOpeningsTest, AnAgentWithVddkIsThereForEveryDiskThatAsksForNothingElse) {
  const test::FakeAgent agent({.address = fleet_->address(),
                               .server_key = keys_.public_key,
                               .id = "a",
                               .node = "a",
                               .vddk = true});
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!agent.is_in() && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_TRUE(agent.is_in());
  EXPECT_EQ(asked_for_both(), "automatic+vddk automatic+vddk");
  ask_for({{second_.id, "https"}});
  EXPECT_EQ(asked_for_both(), "automatic+vddk https+vddk") << "the way decides, not what there is";
}

TEST_F(DiskOpeningsTest, TheConfigurationAsksForVddkWhereTheImportAsksForNothing) {
  parts_->settings.vddk = true;
  EXPECT_EQ(asked_for_both(), "vddk+vddk vddk+vddk");
  ask_for({{first_.id, "export"}});
  EXPECT_EQ(asked_for_both(), "export vddk+vddk");
}

TEST_F(DiskOpeningsTest, WhatIsAskedForIsJudgedWhenTheSourceIsRead) {
  const auto judged = [&] {
    provider_->read.reset();
    memory_.vm.reset();
    in_pass([](Pass& pass) { EXPECT_TRUE(read_source(pass)); });
    return provider_->read.value_or(VmRef());
  };
  EXPECT_EQ(judged().ways, DiskWays());
  ask_for({{first_.id, "https"}, {second_.id, "nbd://array:10809/disk"}});
  EXPECT_EQ(judged().ways,
            (DiskWays{{first_.id, DiskWay::FlatFile}, {second_.id, DiskWay::Elsewhere}}));
  EXPECT_FALSE(judged().vddk);
  parts_->settings.vddk = true;
  EXPECT_EQ(judged().ways, (DiskWays{{first_.id, DiskWay::FlatFile},
                                     {second_.id, DiskWay::Elsewhere},
                                     {"*", DiskWay::Vddk}}));
  EXPECT_FALSE(judged().vddk) << "no agent has it, whatever the configuration says";
}

TEST_F(DiskOpeningsTest, Vsrc52EachAttemptLooksAtTheSourceAgainAndOnce) {
  in_pass([&](Pass& pass) {
    const auto host = [&](protocol::Attempt attempt) {
      reopen_for_attempt(pass, first_, attempt);
      auto opening = opened(pass, first_);
      EXPECT_TRUE(opening);
      return (*opening)->source_host;
    };
    EXPECT_EQ((*opened(pass, first_))->source_host, "esx1");
    EXPECT_EQ(host(1), "esx2") << "the first attempt failed: the VM may have moved since";
    EXPECT_EQ(host(1), "esx2");
    EXPECT_EQ(host(2), "esx3");
    provider_->refuses = make_error(ErrorKind::Unavailable, "it is restarting");
    EXPECT_EQ(host(3), "esx3") << "what is known has to do";
    provider_->refuses = make_error(ErrorKind::NotFound, "it is gone");
    reopen_for_attempt(pass, first_, 4);
    EXPECT_FALSE(opened(pass, first_)) << "and is told";
    provider_->refuses.reset();
  });
  ask_for({{"*", "nbd://array:10809/disk"}});
  memory_.openings.clear();
  provider_->asked.clear();
  in_pass([&](Pass& pass) {
    ASSERT_TRUE(opened(pass, first_));
    reopen_for_attempt(pass, first_, 3);
    EXPECT_TRUE(memory_.openings.contains(first_.id)) << "what the user names stays what it is";
  });
  EXPECT_TRUE(provider_->asked.empty());
}

// "Done" was written, and the coordinator died before its ledger was. A lease that nobody ends is
// kept alive for ever once its other disk is polled, and the VM locked with it.
TEST_F(DiskOpeningsTest, ALeaseIsEndedWithTheLastDiskThoughAnEarlierOneLeftItsEntry) {
  leased("Verifying", "Done");
  in_pass([&](Pass& pass) {
    const auto gone = release_settled(pass, first_.id);
    ASSERT_TRUE(gone) << to_string(gone.error());
    EXPECT_TRUE(*gone);
  });
  EXPECT_THAT(provider_->released, ElementsAre("lease:web:1 done"));
}

TEST_F(DiskOpeningsTest, ALeaseThatAnotherDiskStillNeedsIsNotEnded) {
  leased("Done", "Copying");
  const auto moved = move_done(0);
  ASSERT_TRUE(moved) << to_string(moved.error());
  EXPECT_EQ(moved->kind, StepResult::Kind::Done);
  EXPECT_THAT(provider_->released, IsEmpty());
  EXPECT_EQ(entries(), 1u);
  in_pass([&](Pass& pass) { EXPECT_TRUE(release_settled(pass, second_.id)); });
  EXPECT_THAT(provider_->released, ElementsAre("lease:web:1 done"));
}

TEST_F(DiskOpeningsTest, WhatFinishedDisksLeftOpenIsClosedBeforeItIsForgotten) {
  leased("Done", "Done");
  provider_->keeps = make_error(ErrorKind::Unavailable, "it is restarting");
  EXPECT_FALSE(move_done(0));
  EXPECT_EQ(entries(), 2u) << "the next pass goes on";
  provider_->keeps.reset();
  for (const std::size_t index : {0u, 1u}) {
    const auto moved = move_done(index);
    ASSERT_TRUE(moved) << to_string(moved.error());
    EXPECT_EQ(moved->kind, StepResult::Kind::Done);
  }
  EXPECT_THAT(provider_->released, Contains("lease:web:1 done"));
  EXPECT_EQ(entries(), 0u);

  leased("Done", "Done");
  provider_->keeps = make_error(ErrorKind::NotFound, "the server has no such disk any more");
  EXPECT_TRUE(move_done(0)) << "there is nothing left to close";
  EXPECT_EQ(entries(), 1u);
}

TEST_F(DiskOpeningsTest, AnImportDoesNotEndWithALeaseOpen) {
  leased("Done", "Done");
  make(kube::types::kVirtualMachine,
       kube::Object(json{{"metadata",
                          {{"name", "web"},
                           {"namespace", "n"},
                           {"labels", {{api::kImportUid, import_.uid()}}}}}}));
  in_pass([](Pass& pass) {
    const auto finished = finish_import(pass);
    ASSERT_TRUE(finished) << to_string(finished.error());
    EXPECT_EQ(finished->kind, StepResult::Kind::Done);
  });
  EXPECT_THAT(provider_->released, Contains("lease:web:1 done"));
  EXPECT_EQ(entries(), 0u);
}

}  // namespace
}  // namespace vmferry::imports
