#include "coordinator/imports/disk_openings.h"

#include <gmock/gmock.h>

#include <chrono>
#include <functional>
#include <thread>

#include "common/catalogue.h"
#include "coordinator/imports/disk_moves.h"
#include "coordinator/imports/disk_ways.h"
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
  std::string gives;  // the handle of what it opens
  bool encrypted = false;
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
  // As for a disk that VDDK and a flat file give alike; or VDDK alone.
  Result<WayChoice> choose_way(const SourceVm&, const SourceDisk& disk, bool vddk,
                               std::stop_token) override {
    if (disk.way != DiskWay::Automatic) return WayChoice{disk.way, "configured"};
    if (vddk) return WayChoice{DiskWay::Vddk, "an agent has VDDK"};
    if (encrypted) return coded_error(ErrorKind::Unavailable, code::kVddkAgent, "only VDDK can");
    return WayChoice{DiskWay::FlatFile, "flat"};
  }
  Result<DiskOpening> open_disk(const SourceVm&, const SourceDisk& disk, const std::string&,
                                std::stop_token) override {
    asked.push_back(disk);
    if (refuses) return *refuses;
    DiskEndpoint endpoint;
    endpoint.kind = disk.way == DiskWay::Vddk ? SourceKind::NbdkitVddk : SourceKind::HttpRange;
    endpoint.size_bytes = disk.size_bytes;
    return DiskOpening{.handle = gives,
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
  // A coordinator that has just started.
  void in_pass(const std::function<void(Pass&)>& work) {
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    ASSERT_TRUE(parsed) << to_string(parsed.error());
    auto ledger = ledger_of(parsed->object);
    ASSERT_TRUE(ledger) << to_string(ledger.error());
    Pass pass(*parts_, *std::move(parsed), *std::move(ledger), memory_, {});
    pass.provider = provider_;
    work(pass);
  }
  // The way in which the disk is opened when nothing is in memory: what the provider is asked for;
  // or why it is not opened.
  std::string asked_for(const SourceDisk& disk, const std::vector<std::string>& nodes = {}) {
    memory_.openings.clear();
    provider_->asked.clear();
    std::string why;
    in_pass([&](Pass& pass) {
      if (way_is_open(pass, disk)) {
        std::string waiting_for;
        const auto chosen = choose_way(pass, disk, nodes, waiting_for);
        if (!chosen) why = chosen.error().code();
        if (chosen && !*chosen) why = "waits for " + waiting_for;
        if (!why.empty()) return;
      }
      EXPECT_TRUE(opened(pass, disk));
    });
    if (!why.empty()) return why;
    if (provider_->asked.empty()) return "nobody";
    EXPECT_EQ(provider_->asked.back().id, disk.id);
    return std::string(to_string(provider_->asked.back().way));
  }
  std::string asked_for_both() { return asked_for(first_) + " " + asked_for(second_); }
  // Nothing was ever chosen.
  void forget_ledger() {
    patch_import({{"metadata", {{"annotations", {{api::kLedger, nullptr}}}}}});
  }
  void set_ledger(const Ledger& ledger) {
    patch_import({{"metadata", {{"annotations", {{api::kLedger, to_text(ledger)}}}}}});
  }
  std::unique_ptr<test::FakeAgent> agent(const std::string& node, bool vddk) {
    auto made =
        std::make_unique<test::FakeAgent>(test::FakeAgent::Options{.address = fleet_->address(),
                                                                   .server_key = keys_.public_key,
                                                                   .id = node,
                                                                   .node = node,
                                                                   .vddk = vddk});
    wait_until([&] { return agents_there(fleet_->agents(), {node}).any; });
    return made;
  }
  // The fleet's time goes on; agents that live are heard again.
  void settle_fleet(const std::vector<std::string>& nodes) {
    clock_.advance(std::chrono::seconds(60));
    for (const std::string& node : nodes) {
      wait_until([&] { return agents_there(fleet_->agents(), {node}).any; });
    }
    EXPECT_TRUE(fleet_->settled());
  }
  static void wait_until(const std::function<bool()>& there) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!there() && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_TRUE(there());
  }

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

constexpr const char* kNobodyKnows =
    "waits for the agents that can write its target to tell whether they have VDDK";

TEST_F(DiskOpeningsTest, EachDiskGoesTheWayThatIsAskedForIt) {
  ask_for({{first_.name, "vddk"}, {"*", "https"}});
  EXPECT_EQ(asked_for_both(), "vddk https");
  ask_for({{first_.id, "https"}, {"*", "export"}});
  EXPECT_EQ(asked_for_both(), "https export") << "nothing is open at the source: a mind may change";
  ask_for({{first_.id, "nbd://array:10809/disk"}, {"*", "vddk"}});
  EXPECT_EQ(asked_for_both(), "nobody vddk");
}

TEST_F(DiskOpeningsTest, TheFirstChoiceWaitsForTheAgentsToTellWhatTheyHave) {
  EXPECT_EQ(asked_for(first_), kNobodyKnows) << "no agent";
  const auto plain = agent("n1", false);
  EXPECT_EQ(asked_for(first_), kNobodyKnows) << "others may be about to say hello";
  settle_fleet({"n1"});
  EXPECT_EQ(asked_for(first_, {"n2"}), "waits for an agent on a node that reaches the target (n2)")
      << "none that could write there";
  EXPECT_EQ(asked_for(first_), "https");
}

TEST_F(DiskOpeningsTest, AnAgentWithVddkCountsWhereItReachesTheTarget) {
  const auto with = agent("n1", true);
  EXPECT_EQ(asked_for(first_, {"n1", "n3"}), "vddk") << "at once: it is there";
  const auto without = agent("n2", false);
  settle_fleet({"n1", "n2"});
  EXPECT_EQ(asked_for(second_, {"n2"}), "https") << "VDDK is elsewhere";
  forget_ledger();
  ask_for({{second_.id, "https"}});
  EXPECT_EQ(asked_for_both(), "vddk https");
}

TEST_F(DiskOpeningsTest, AWayOnceChosenIsKeptWhateverAgentsComeAndGo) {
  {
    const auto with = agent("n1", true);
    EXPECT_EQ(asked_for(first_), "vddk");
  }
  EXPECT_EQ(asked_for(first_), "vddk") << "its agent is away, and the coordinator was restarted";
  const auto plain = agent("n2", false);
  settle_fleet({"n2"});
  EXPECT_EQ(asked_for_both(), "vddk https");
  const auto with = agent("n3", true);
  EXPECT_EQ(asked_for_both(), "vddk https") << "and now the other way round";
  const auto ledger = ledger_of(*find("web", kube::types::kVirtualMachineImport));
  ASSERT_TRUE(ledger);
  EXPECT_EQ(ledger->ways.at(first_.id), (WayChoice{DiskWay::Vddk, "an agent has VDDK"}));
  EXPECT_TRUE(ledger->openings.contains(first_.id)) << "with the intent";
}

TEST_F(DiskOpeningsTest, AnEncryptedDiskWaitsForAnAgentWithVddk) {
  provider_->encrypted = true;
  const auto plain = agent("n1", false);
  settle_fleet({"n1"});
  EXPECT_EQ(asked_for(first_), code::kVddkAgent);
  const auto ledger = ledger_of(*find("web", kube::types::kVirtualMachineImport));
  ASSERT_TRUE(ledger);
  EXPECT_TRUE(ledger->empty()) << "nothing was begun";
  const auto with = agent("n2", true);
  EXPECT_EQ(asked_for(first_), "vddk");
}

TEST_F(DiskOpeningsTest, ALedgerOfAnEarlierVersionShowsTheWayByWhatWasBegun) {
  EXPECT_EQ(way_of_earlier_version("", {}), std::nullopt);
  EXPECT_EQ(way_of_earlier_version("lease:u:1", {})->way, DiskWay::ExportLease);
  EXPECT_EQ(way_of_earlier_version("lease:u:1", {{"file", "a"}})->way, DiskWay::ExportLease);
  EXPECT_EQ(way_of_earlier_version("", {{"file", "a"}, {"file bytes", "7"}})->way,
            DiskWay::FlatFile);
  EXPECT_EQ(way_of_earlier_version("", {{"file", "a"}})->way, DiskWay::Vddk);
  EXPECT_EQ(way_of_earlier_version("", {{"file", "a"}}, "NFC export stream (not resumable)")->way,
            DiskWay::ExportLease)
      << "its lease had ended, and was not had anew yet";
  // No agent is there, and none is needed to know it.
  set_ledger({.openings = {{first_.id, ""}, {second_.id, ""}},
              .identities = {{first_.id, {{"file", "a"}}},
                             {second_.id, {{"file", "b"}, {"file bytes", "7"}}}}});
  EXPECT_EQ(asked_for_both(), "vddk https");
  const auto ledger = ledger_of(*find("web", kube::types::kVirtualMachineImport));
  ASSERT_TRUE(ledger);
  EXPECT_EQ(ledger->ways.size(), 2u) << "from here on it is written down";
}

TEST_F(DiskOpeningsTest, TheConfigurationAsksForVddkWhereTheImportAsksForNothing) {
  const auto plain = agent("n1", false);
  settle_fleet({"n1"});
  EXPECT_EQ(asked_for(second_), "https");
  parts_->settings.vddk = true;
  EXPECT_EQ(asked_for_both(), "vddk https") << "what was begun goes on as it was";
  ask_for({{first_.id, "export"}});
  EXPECT_EQ(asked_for(first_), "export");
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
  ask_for({{"*", "https"}});
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

// To another account's session the server says that it knows no such lease.
TEST_F(DiskOpeningsTest, ALeaseIsEndedByTheSessionThatAskedForItAlsoWhenTheSecretWasEdited) {
  const auto opener = provider_;
  Ledger ledger;
  ledger.ways[first_.id] = {DiskWay::ExportLease, "it is a delta"};
  set_ledger(ledger);
  opener->gives = "lease:web:1";
  in_pass([&](Pass& pass) { EXPECT_TRUE(opened(pass, first_)); });
  provider_ = std::make_shared<AskedProvider>();
  memory_.openings.clear();  // as another attempt does: a stream is read but once
  in_pass([&](Pass& pass) { EXPECT_TRUE(opened(pass, first_)); });
  EXPECT_EQ(opener->asked.size(), 2u) << "opened, and asked for again";
  EXPECT_THAT(provider_->asked, IsEmpty());
  in_pass([&](Pass& pass) { EXPECT_TRUE(release_opening(pass, first_.id, false)); });
  EXPECT_THAT(opener->released, ElementsAre("lease:web:1 dropped"));
  EXPECT_THAT(provider_->released, IsEmpty());
}

TEST_F(DiskOpeningsTest, ALeaseOfASessionThatIsShutOutHasEndedWithIt) {
  leased("Copying", "Copying");
  const auto opener = provider_;
  memory_.lease_openers["lease:web:1"] = opener;
  opener->keeps = make_error(ErrorKind::PermissionDenied, "wrong password");
  provider_ = std::make_shared<AskedProvider>();
  in_pass([&](Pass& pass) { EXPECT_TRUE(release_opening(pass, first_.id, false)); });
  EXPECT_THAT(provider_->released, ElementsAre("lease:web:1 dropped"));
}

}  // namespace
}  // namespace vmferry::imports
