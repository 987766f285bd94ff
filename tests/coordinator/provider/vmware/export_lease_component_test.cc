// Export leases against the test bed's strict ones. Rows are those of source-vmware.md 10.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "common/catalogue.h"
#include "common/http_client.h"
#include "coordinator/provider/provider.h"
#include "tests/support/vcsim_fixture.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::VcsimBed;

constexpr std::uint64_t kMib = 1 << 20;

json disk(const char* backing, json more = json::object()) {
  json tree = {{"size_bytes", kMib}, {"controller", "pvscsi"}, {"backing", backing}};
  tree.update(more);
  return tree;
}

class ExportLeaseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = VcsimBed::missing(); !reason.empty()) GTEST_SKIP() << reason;
    VcsimBed::Options options;
    options.inventory = {
        {"vms",
         {{{"name", "snapped"},
           {"tools", "toolsOk"},
           {"disks", {disk("delta"), disk("sesparse"), disk("flat")}}},
          {{"name", "odd"},
           {"disks",
            {disk("rdm-physical"), disk("flat", {{"key_id", "k1"}}), disk("rdm-virtual"),
             disk("flat", {{"mode", "independent_persistent"}}),
             disk("flat", {{"sharing", "sharingMultiWriter"}})}}}}}};
    bed_ = VcsimBed::start(std::move(options));
    ASSERT_NE(bed_, nullptr);
    vmware_ = provider();
    ASSERT_NE(vmware_, nullptr);
  }

  std::unique_ptr<Provider> provider() const {
    ProviderCredentials c;
    c.api_url = bed_->url();
    c.username = bed_->user();
    c.password = SecretString(bed_->password());
    c.thumbprint = bed_->sha256();
    auto made = make_vmware_provider(c, Logger());
    EXPECT_TRUE(made.ok());
    return made.ok() ? *std::move(made) : nullptr;
  }

  SourceVm vm(const std::string& name, bool vddk = false) {
    VmRef ref;
    ref.name = name;
    ref.vddk = vddk;
    auto found = vmware_->find_vm(ref, {});
    EXPECT_TRUE(found.ok()) << (found.ok() ? "" : to_string(found.error()));
    return found.ok() ? *std::move(found) : SourceVm{};
  }
  // Opens, and polls until there is an endpoint.
  Result<DiskOpening> open(const SourceVm& vm, const SourceDisk& disk,
                           const std::string& owner = "import-1") {
    DiskOpening opening = TRY(vmware_->open_disk(vm, disk, owner, {}));
    for (int i = 0; i < 200 && !opening.endpoint; ++i) {
      std::this_thread::sleep_for(20ms);
      opening = TRY(vmware_->poll_disk(vm, disk, opening.handle, {}));
    }
    return opening;
  }
  json leases() const { return bed_->state().at("leases"); }
  int calls(const char* method) const { return bed_->state().at("calls").value(method, 0); }

  std::unique_ptr<VcsimBed> bed_;
  std::unique_ptr<Provider> vmware_;
};

#define ASSERT_OK(result) \
  ASSERT_TRUE((result).ok()) << ((result).ok() ? "" : to_string((result).error()))

TEST_F(ExportLeaseTest, DisksOfOneVmShareALeaseThatEndsOnce) {
  const SourceVm snapped = vm("snapped");
  ASSERT_EQ(snapped.disks.size(), 3u);
  const auto delta = open(snapped, snapped.disks[0]);
  ASSERT_OK(delta);
  const auto sesparse = open(snapped, snapped.disks[1]);
  ASSERT_OK(sesparse);
  const auto flat = open(snapped, snapped.disks[2]);
  ASSERT_OK(flat);
  EXPECT_EQ(delta->endpoint->kind, SourceKind::VmdkStream);
  const auto way = vmware_->choose_way(snapped, snapped.disks[0], false, {});
  ASSERT_OK(way);
  EXPECT_NE(way->why.find("delta of a snapshot"), std::string::npos) << way->why;
  EXPECT_NE(way->why.find("cannot be resumed"), std::string::npos) << way->why;
  EXPECT_FALSE(delta->handle.empty());
  EXPECT_EQ(delta->handle, sesparse->handle);
  EXPECT_NE(delta->endpoint->url, sesparse->endpoint->url);
  EXPECT_EQ(flat->endpoint->kind, SourceKind::HttpRange);
  EXPECT_TRUE(flat->handle.empty());
  EXPECT_EQ(calls("ExportVm"), 1);

  // The flat disk's release is none of the lease's business.
  EXPECT_TRUE(vmware_->release_disk("", snapped.disks[2].id, "import-1", true, {}).ok());
  EXPECT_EQ(leases().at("live").size(), 1u);
  EXPECT_TRUE(vmware_->release_disk(delta->handle, snapped.disks[1].id, "import-1", true, {}).ok());
  EXPECT_TRUE(vmware_->release_disk(delta->handle, snapped.disks[1].id, "import-1", true, {}).ok());
  EXPECT_EQ(leases().at("completed"), 1);
  EXPECT_EQ(leases().at("aborted"), 0);
  EXPECT_TRUE(leases().at("live").empty());
}

TEST_F(ExportLeaseTest, Vsrc35StarInTheUrlIsTheHostThatWasAsked) {
  bed_->post("/lease", {{"star_host", true}, {"without_thumbprint", true}});
  const SourceVm snapped = vm("snapped");
  const auto opening = open(snapped, snapped.disks[0]);
  ASSERT_OK(opening);
  EXPECT_TRUE(opening->endpoint->url.starts_with("https://127.0.0.1:")) << opening->endpoint->url;
  EXPECT_EQ(opening->endpoint->trust.thumbprint, bed_->sha256()) << "our own server's pin holds";
  EXPECT_FALSE(opening->endpoint->cookie.empty());
}

TEST_F(ExportLeaseTest, AnEndpointTrustsTheThumbprintOfItsLease) {
  const SourceVm snapped = vm("snapped");
  const auto opening = open(snapped, snapped.disks[0]);
  ASSERT_OK(opening);
  EXPECT_EQ(opening->endpoint->trust.thumbprint, bed_->sha1());
}

TEST_F(ExportLeaseTest, Vsrc37ALeaseIsKeptAliveWhileNothingMoves) {
  bed_->post("/lease", {{"timeout_seconds", 2}});
  const SourceVm snapped = vm("snapped");
  const auto opening = open(snapped, snapped.disks[0]);
  ASSERT_OK(opening);
  vmware_->report_progress(opening->handle, 40);
  std::this_thread::sleep_for(5s);
  const json live = leases().at("live");
  ASSERT_EQ(live.size(), 1u);
  EXPECT_EQ(live[0].at("state"), "ready");
  EXPECT_EQ(live[0].at("percent"), 40);
  EXPECT_GE(leases().at("progress_calls").get<int>(), 4);
}

TEST_F(ExportLeaseTest, Vsrc36ALeaseThatEndedIsToldAndMadeAnew) {
  const SourceVm snapped = vm("snapped");
  const auto opening = open(snapped, snapped.disks[0]);
  ASSERT_OK(opening);
  bed_->post("/lease", {{"expire", true}});
  const auto polled = vmware_->poll_disk(snapped, snapped.disks[0], opening->handle, {});
  ASSERT_FALSE(polled.ok());
  EXPECT_EQ(polled.error().code(), code::kSourceRead) << to_string(polled.error());
  EXPECT_TRUE(
      vmware_->release_disk(opening->handle, snapped.disks[0].id, "import-1", false, {}).ok());
  EXPECT_EQ(leases().at("aborted"), 1);
  const auto again = open(snapped, snapped.disks[0]);
  ASSERT_OK(again);
  EXPECT_NE(again->handle, opening->handle);
}

TEST_F(ExportLeaseTest, AVmThatSomebodyElseExportsIsWaitedFor) {
  const SourceVm snapped = vm("snapped");
  ASSERT_OK(open(snapped, snapped.disks[0]));
  const auto other = vmware_->open_disk(snapped, snapped.disks[0], "import-2", {});
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().kind(), ErrorKind::Unavailable);
  EXPECT_EQ(other.error().code(), code::kDiskLocked) << to_string(other.error());
  const auto start = vmware_->start(snapped.native_id, {});
  ASSERT_FALSE(start.ok());
  EXPECT_EQ(start.error().kind(), ErrorKind::Unavailable) << to_string(start.error());
}

TEST_F(ExportLeaseTest, ARestartTakesALeaseOverWhereTheServerLetsIt) {
  bed_->post("/lease", {{"outlives_session", true}, {"timeout_seconds", 2}});
  const SourceVm snapped = vm("snapped");
  const auto opening = open(snapped, snapped.disks[0]);
  ASSERT_OK(opening);
  const auto after = provider();  // as a new process: it knows the handle alone
  const auto adopted = after->poll_disk(snapped, snapped.disks[0], opening->handle, {});
  ASSERT_OK(adopted);
  EXPECT_EQ(adopted->endpoint->url, opening->endpoint->url);
  const auto second = after->open_disk(snapped, snapped.disks[1], "import-1", {});
  ASSERT_OK(second);
  EXPECT_EQ(second->handle, opening->handle);
  EXPECT_TRUE(
      after->release_disk(opening->handle, snapped.disks[0].id, "import-1", false, {}).ok());
  EXPECT_EQ(leases().at("aborted"), 1);
  EXPECT_EQ(calls("ExportVm"), 1);
}

TEST_F(ExportLeaseTest, ARestartFindsALeaseOfItsOldSessionGone) {
  const SourceVm snapped = vm("snapped");
  const auto opening = open(snapped, snapped.disks[0]);
  ASSERT_OK(opening);
  const auto after = provider();
  const auto polled = after->poll_disk(snapped, snapped.disks[0], opening->handle, {});
  ASSERT_FALSE(polled.ok());
  EXPECT_EQ(polled.error().code(), code::kSourceRead) << to_string(polled.error());
  EXPECT_TRUE(
      after->release_disk(opening->handle, snapped.disks[0].id, "import-1", false, {}).ok());
}

TEST_F(ExportLeaseTest, Vsrc50ClosingAbortsTheLeasesAndLogsOut) {
  const SourceVm snapped = vm("snapped");
  ASSERT_OK(open(snapped, snapped.disks[0]));
  vmware_->close();
  EXPECT_TRUE(leases().at("live").empty());
  EXPECT_EQ(leases().at("aborted"), 1);
  EXPECT_EQ(calls("HttpNfcLeaseAbort"), 1);
  EXPECT_EQ(bed_->state().at("sessions"), 0);
}

TEST_F(ExportLeaseTest, ALeaseWithoutTheDiskIsRefusedWithARemedy) {
  const SourceVm snapped = vm("snapped");
  SourceDisk flat = snapped.disks[2];
  flat.way = DiskWay::ExportLease;
  ASSERT_OK(open(snapped, flat));
  SourceDisk gone = flat;
  gone.attachment_id = "9999";
  const auto missing = vmware_->open_disk(snapped, gone, "import-1", {});
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), code::kDiskMissing);
}

TEST_F(ExportLeaseTest, ALostAnswerToExportVmIsNotRepeatedBehindOurBack) {
  const SourceVm snapped = vm("snapped");
  bed_->post("/fault", {{"method", "ExportVm"}, {"drop_after", 0}, {"times", 1}});
  const auto lost = vmware_->open_disk(snapped, snapped.disks[0], "import-1", {});
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().kind(), ErrorKind::Unavailable) << to_string(lost.error());
  EXPECT_EQ(calls("ExportVm"), 1);
  ASSERT_OK(open(snapped, snapped.disks[0]));
}

TEST_F(ExportLeaseTest, Vsrc51OddDisksAreReadInSomeWayOrRefusedWithAReason) {
  const SourceVm odd = vm("odd");
  ASSERT_EQ(odd.disks.size(), 5u);
  const auto of = [&](const char* label) {
    return *std::ranges::find(odd.disks, std::string("Hard disk ") + label, &SourceDisk::name);
  };
  const auto blocked = [&](const char* label) {
    const std::string name = std::string("disk 'Hard disk ") + label + "'";
    std::string rules;
    for (const Finding& finding : odd.findings) {
      if (finding.level != FindingLevel::Block) continue;
      if (finding.text.find(name) != std::string::npos) rules += finding.rule;
    }
    return rules;
  };
  EXPECT_EQ(blocked("1"), "vmware.disk.rdm");
  EXPECT_EQ(blocked("2"), "vmware.vm.encryption");
  EXPECT_EQ(blocked("3"), "") << "virtual RDM";
  EXPECT_EQ(blocked("4"), "") << "independent";
  EXPECT_EQ(blocked("5"), "vmware.disk.shared");
  const auto physical = vmware_->open_disk(odd, of("1"), "import-1", {});
  ASSERT_FALSE(physical.ok());
  EXPECT_EQ(physical.error().code(), code::kDiskUnsupported);
  EXPECT_NE(physical.error().message().find(';'), std::string::npos) << "a remedy";
  const auto secret = vmware_->open_disk(odd, of("2"), "import-1", {});
  ASSERT_FALSE(secret.ok());
  EXPECT_EQ(secret.error().code(), code::kVddkAgent) << "an agent with VDDK may come";
  const auto rdm = open(odd, of("3"));
  ASSERT_OK(rdm);
  EXPECT_EQ(rdm->endpoint->kind, SourceKind::VmdkStream);
  const auto independent = open(odd, of("4"));
  ASSERT_OK(independent);
  EXPECT_EQ(independent->endpoint->kind, SourceKind::HttpRange);

  SourceDisk encrypted = of("2");
  EXPECT_EQ(vmware_->choose_way(odd, encrypted, true, {})->way, DiskWay::Vddk);
  const auto unread = vmware_->choose_way(odd, encrypted, false, {});
  ASSERT_FALSE(unread.ok());
  EXPECT_EQ(unread.error().code(), code::kVddkAgent);
  EXPECT_TRUE(is_retryable(unread.error().kind())) << "an agent with VDDK may come";
  encrypted.way = DiskWay::Vddk;
  const auto by_vddk = vmware_->open_disk(odd, encrypted, "import-1", {});
  ASSERT_OK(by_vddk);
  EXPECT_EQ(by_vddk->endpoint->kind, SourceKind::NbdkitVddk);
  EXPECT_EQ(by_vddk->endpoint->vddk.thumbprint, bed_->sha1())
      << "taken from the connection that the SHA-256 pin verified";
  EXPECT_EQ(by_vddk->endpoint->vddk.file, encrypted.file);
}

}  // namespace
}  // namespace vmferry
