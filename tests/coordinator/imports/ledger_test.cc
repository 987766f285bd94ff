#include "coordinator/imports/ledger.h"

#include <gtest/gtest.h>

#include "coordinator/api/import.h"
#include "coordinator/imports/disk_overrides.h"
#include "coordinator/imports/plan.h"

namespace vmferry::imports {
namespace {

kube::Object import_with(std::string_view annotation, std::string_view value) {
  return kube::Object(nlohmann::json{
      {"metadata",
       {{"name", "web"}, {"annotations", {{std::string(annotation), std::string(value)}}}}}});
}

TEST(LedgerTest, SurvivesItsText) {
  const Ledger ledger{.openings = {{"disk-1", "transfer-9"}, {"disk-2", ""}},
                      .claims = {{"claim-1", "uid-1"}},
                      .identities = {{"disk-1", {{"content id", "0a1b"}, {"change version", "7"}}}},
                      .opened_at = "https://engine.example/ovirt-engine/api",
                      .source_id = "vm-42",
                      .stop_requested_at = "2026-01-31T12:00:00Z",
                      .power_cut_at = "2026-01-31T12:10:00Z",
                      .failure_reason = "DataVolumeCreationFailed",
                      .failure_message = "disk 'boot': full"};
  const auto read = ledger_of(import_with(api::kLedger, to_text(ledger)));
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, ledger);
}

TEST(LedgerTest, OfAnEarlierVersionItIsReadAsFarAsItIsKnown) {
  const auto read = ledger_of(
      import_with(api::kLedger, R"({"undoStartedAt":"2026-01-31T12:00:00Z","sourceId":"vm-42"})"));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->source_id, "vm-42");
  EXPECT_EQ(to_text(*read).find("undo"), std::string::npos);
}

TEST(LedgerTest, AbsentIsEmptyAndDamagedIsAnError) {
  EXPECT_TRUE(ledger_of(kube::Object())->empty());
  for (const std::string_view damaged : {"{", "[]", R"({"openings": 7})"}) {
    const auto read = ledger_of(import_with(api::kLedger, damaged));
    EXPECT_FALSE(read) << damaged;
  }
}

TEST(PlanTest, SurvivesItsJson) {
  const ImportPlan plan{.vm_name = "web",
                        .source_native_id = "vm-42",
                        .template_note = "rhel8",
                        .disks = {{.source_id = "d1",
                                   .name = "Hard disk 1",
                                   .claim = "uid-2000",
                                   .storage_class = "fast",
                                   .volume_mode = "Block",
                                   .access_mode = "ReadWriteMany",
                                   .size_bytes = 1u << 30,
                                   .request_bytes = 1u << 30}},
                        .vm = {{"kind", "VirtualMachine"}}};
  const auto read = plan_from_json(to_json(plan));
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, plan);
  EXPECT_FALSE(plan_from_json(nlohmann::json::object()));
  EXPECT_FALSE(plan_from_json(nlohmann::json("text")));
}

TEST(DiskOverrideTest, IsChosenByIdThenNameThenStar) {
  SourceDisk disk;
  disk.id = "2000";
  disk.name = "Hard disk 1";
  const struct {
    std::string_view text, url;
    DiskWay way;
  } cases[] = {
      {R"({"2000": "nbd://h/a", "Hard disk 1": "nbd://h/b"})", "nbd://h/a", DiskWay::Automatic},
      {R"({"Hard disk 1": {"url": "nbd+unix:///x?socket=/s"}, "*": "vddk"})",
       "nbd+unix:///x?socket=/s", DiskWay::Automatic},
      {R"({"*": "vddk"})", "", DiskWay::Vddk},
      {R"({"2000": "export", "*": "https"})", "", DiskWay::ExportLease},
      {R"({"other": "vddk", "*": "https"})", "", DiskWay::FlatFile},
      {R"({"other": "vddk"})", "", DiskWay::Automatic},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto chosen = disk_override(import_with(api::kDiskSources, c.text), disk);
    ASSERT_TRUE(chosen);
    EXPECT_EQ(chosen->way, c.way);
    EXPECT_EQ(chosen->endpoint ? chosen->endpoint->url : "", c.url);
  }
}

TEST(DiskOverrideTest, TheWaysOfAllDisksAreWhatEachIsGiven) {
  SourceDisk named, numbered, other;
  named.id = "2001";
  named.name = "Hard disk 2";
  numbered.id = "2000";
  numbered.name = "Hard disk 1";
  other.id = "2002";
  const kube::Object import = import_with(
      api::kDiskSources,
      R"({"2000": "export", "Hard disk 2": {"url": "nbd://h/b"}, "Hard disk 1": "vddk", "*": "https"})");
  const DiskWays ways = disk_ways(import);
  EXPECT_EQ(way_of(ways, named.id, named.name), DiskWay::Elsewhere);
  EXPECT_TRUE(disk_override(import, named)->endpoint);
  for (const SourceDisk& disk : {numbered, other}) {
    EXPECT_EQ(way_of(ways, disk.id, disk.name), disk_override(import, disk)->way) << disk.id;
  }
  for (const std::string_view text : {"garbage", "[\"vddk\"]", "{}"}) {
    EXPECT_TRUE(disk_ways(import_with(api::kDiskSources, text)).empty()) << text;
  }
  EXPECT_TRUE(disk_ways(kube::Object()).empty());
  EXPECT_EQ(way_of({}, "2000", "Hard disk 1"), DiskWay::Automatic);
}

TEST(DiskOverrideTest, RefusesWhatIsNoNbdSource) {
  SourceDisk disk;
  disk.id = "d";
  for (const std::string_view text : {"garbage", "[]", R"({"d": "https://host/disk"})",
                                      R"({"d": 7})", R"({"d": "file:///etc/shadow"})"}) {
    EXPECT_FALSE(disk_override(import_with(api::kDiskSources, text), disk)) << text;
  }
}

TEST(DiskOverrideTest, OnAClusterNoSocketOrFileOfANodeIsASource) {
  SourceVm vm;
  vm.disks.emplace_back();
  vm.disks[0].id = "d";
  const struct {
    std::string_view text;
    bool elsewhere, on_cluster;
  } cases[] = {
      {R"({"d": "nbd://host:10809/export"})", true, true},
      {R"({"d": "nbds://host/export"})", true, true},
      {R"({"d": "vddk"})", true, true},
      {R"({"d": "nbd+unix:///x?socket=/run/other.sock"})", true, false},
      {R"({"d": "nbds+unix:///x?socket=/run/other.sock"})", true, false},
      {R"({"d": "nbds://host/x?tls-psk-file=/etc/keys"})", true, false},
      {R"({"d": {"url": "nbds://host/?tls-certificates=/etc/pki"}})", true, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const kube::Object import = import_with(api::kDiskSources, c.text);
    EXPECT_EQ(check_disk_sources(import, vm, true).empty(), c.elsewhere);
    EXPECT_EQ(check_disk_sources(import, vm, false).empty(), c.on_cluster);
  }
}

}  // namespace
}  // namespace vmferry::imports
