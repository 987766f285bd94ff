// Pure texts of the command line: durations, tables, progress, reports, copy's arguments.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/copy_arguments.h"
#include "cli/copy_report.h"
#include "cli/describe_text.h"
#include "cli/duration.h"
#include "cli/import_report.h"
#include "cli/progress_view.h"
#include "cli/table.h"
#include "common/bytes.h"

namespace vmferry::cli {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

ImportView running_import() {
  ImportView view;
  view.key = {"default", "web01"};
  view.target_vm = "web01";
  view.reason = "CopyingDisks";
  DiskView disk;
  disk.name = "boot";
  disk.phase = "Copying";
  disk.virtual_bytes = 4 * kGiB;
  disk.to_move_bytes = 2 * kGiB;
  disk.moved_bytes = kGiB;
  disk.bytes_per_second = 100.0 * kMiB;
  disk.agent = "agent-2";
  disk.note = "attempt 2 (agent-1: lost after 34%; taken over)";
  view.disks.push_back(disk);
  return view;
}

TEST(DurationTest, ParsesWhatPeopleType) {
  EXPECT_EQ(*parse_duration("90"), milliseconds(90'000));
  EXPECT_EQ(*parse_duration("10m"), milliseconds(600'000));
  EXPECT_EQ(*parse_duration("1h30m"), milliseconds(5'400'000));
  EXPECT_EQ(*parse_duration("500ms"), milliseconds(500));
  for (const char* bad : {"", "m", "10x", "30m1h", "-5s", "1h1h", "99999999d"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
}

TEST(CopyReportTest, AStopTellsOfTheJournalWhatIsTrue) {
  CopyProgress last;
  EXPECT_THAT(copy_stopped_text(false, last), HasSubstr("starts from nothing"));
  EXPECT_THAT(copy_stopped_text(true, last), HasSubstr("the journal is as it was"));
  last.phase = CopyPhase::Flushing;
  last.durable_bytes = 3 * kMiB;
  EXPECT_THAT(copy_stopped_text(true, last), HasSubstr("could not be saved"));
  EXPECT_THAT(copy_stopped_text(true, last), HasSubstr("3.0 MiB"));
  last.journal_saved = true;
  EXPECT_THAT(copy_stopped_text(true, last), HasSubstr("the journal is saved"));
}

TEST(TableTest, AlignsByCharactersAndFillsEmptyCells) {
  Table table({"NAME", "VM"});
  table.add({"größe", "a"});
  table.add({"x", ""});
  EXPECT_EQ(table.text(), "NAME   VM\ngröße  a\nx      -\n");
}

TEST(TableTest, CutsAndDisarmsTextFromOutside) {
  EXPECT_EQ(fitted("abcdef", 4), "abc…");
  EXPECT_EQ(printable("a\x1b[2Jb"), "a [2Jb");
}

TEST(ProgressViewTest, DrawsBarsWithinTheirLimits) {
  EXPECT_EQ(bar(0.5, 12), "[#####-----]");
  EXPECT_EQ(bar(7, 6), "[####]");
  EXPECT_EQ(bar(-1, 6), "[----]");
}

TEST(ProgressViewTest, ShowsRateTimeLeftAgentAndTakeover) {
  const auto lines = progress_lines({running_import()}, {.width = 160});
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("default/web01  CopyingDisks"));
  EXPECT_THAT(lines[1], HasSubstr(" 50%  1.0 GiB / 2.0 GiB"));
  EXPECT_THAT(lines[1], HasSubstr("100.0 MiB/s"));
  EXPECT_THAT(lines[1], HasSubstr("10 s"));
  EXPECT_THAT(lines[1], HasSubstr("agent-2  attempt 2"));
}

// Who follows an import that fails, or that somebody deletes, sees what keeps it.
TEST(ProgressViewTest, TellsWhatUndoingWaitsFor) {
  ImportView view = running_import();
  view.message = "the source is away";
  const auto told = [&view] {
    const auto lines = progress_lines({view}, {.width = 160});
    return lines.back() == "  the source is away" &&
           plain_lines({view}).front().ends_with(": the source is away");
  };
  EXPECT_FALSE(told());
  view.reason = "ProcessingFailed";
  EXPECT_TRUE(told());
  view.reason = "Pending";
  EXPECT_FALSE(told());
  view.deleting = true;
  EXPECT_TRUE(told());
}

TEST(ProgressViewTest, KeepsToEveryWidthAndHeight) {
  const std::vector<ImportView> many(20, running_import());
  for (const std::size_t width : {20u, 40u, 59u, 60u, 80u, 120u, 200u}) {
    const auto lines = progress_lines(many, {.width = width, .height = 10});
    EXPECT_EQ(lines.size(), 10u);
    for (const std::string& line : lines) EXPECT_LE(text_width(line), width) << line;
  }
}

TEST(ImportReportTest, SummarisesWhatAPersonAsksFor) {
  ImportView view = running_import();
  view.outcome = ImportOutcome::Succeeded;
  view.disks[0].phase = "Done";
  view.disks[0].verified = true;
  view.disks[0].digest = "xxh3-128:abcd";
  const std::string text = summary_text({view}, {{view.key, "/disks/web01.yaml"}}, 10);
  EXPECT_THAT(text, HasSubstr("xxh3-128:abcd  verified"));
  EXPECT_THAT(text, HasSubstr("manifest  /disks/web01.yaml"));
  EXPECT_THAT(text, HasSubstr("1 of 1 imports succeeded, 1 of 1 disks verified, 1.0 GiB in 10 s"));
}

TEST(ImportReportTest, GivesEveryReasonAndARemedyOnce) {
  ImportView view = running_import();
  view.outcome = ImportOutcome::Blocked;
  view.reason = "IncompleteMappingRules";
  view.message = "no target for network lan";
  EXPECT_THAT(outcome_text(view), HasSubstr("no target for network lan\n  remedy: "));
  view.message =
      "full [VMF-DST-FULL]; free space or choose a larger storage class; the copy goes "
      "on where it stopped";
  EXPECT_EQ(outcome_text(view).find("remedy:"), std::string::npos);
}

TEST(DescribeTextTest, ShowsEachFindingWithARemedyToPaste) {
  api::VirtualMachineImport import;
  EXPECT_THAT(describe_text(import, running_import(), {}, {}), HasSubstr("Findings: none\n"));
  import.status.findings = {
      {"network.mapping", FindingLevel::Block, FindingGroup::Mapping, "no mapping, for 'net/a'",
       "add to spec.source.ovirt.mappings:\nnetworkMappings:\n- source: {name: \"net/a\"}"},
      { "vm.quota",
        FindingLevel::Log,
        FindingGroup::Rules,
        "a quota\x1b[2J",
        "" }};
  EXPECT_THAT(describe_text(import, running_import(), {}, {}),
              HasSubstr("Findings:\n"
                        "  block  network.mapping\n"
                        "    no mapping, for 'net/a'\n"
                        "    remedy:\n"
                        "      add to spec.source.ovirt.mappings:\n"
                        "      networkMappings:\n"
                        "      - source: {name: \"net/a\"}\n"
                        "  log    vm.quota\n"));
}

TEST(CopyArgumentsTest, ReadsEveryKindOfSource) {
  EXPECT_EQ(parse_copy_ends({"nbd://h/x", "a.img"}, SourceKind::HttpRange)->source.kind,
            SourceKind::Nbd);
  EXPECT_EQ(parse_copy_ends({"disk.raw", "null:"}, SourceKind::HttpRange)->source.kind,
            SourceKind::File);
  EXPECT_EQ(parse_copy_ends({"https://h/t", "a"}, SourceKind::Imageio)->source.kind,
            SourceKind::Imageio);
  EXPECT_EQ(parse_copy_ends({"https://h/d", "a"}, SourceKind::VmdkStream)->source.kind,
            SourceKind::VmdkStream);
  const auto http = parse_copy_ends({"https://me:pw@h/d", "a"}, SourceKind::HttpRange);
  ASSERT_TRUE(http);
  EXPECT_EQ(http->source.url.find("pw"), std::string::npos);
  EXPECT_FALSE(http->source.authorization.empty());
  const auto command =
      parse_copy_ends({"[", "nbdkit", "file", "d", "]", "null:"}, SourceKind::HttpRange);
  ASSERT_TRUE(command);
  EXPECT_THAT(command->command, ElementsAre("nbdkit", "file", "d"));
  EXPECT_TRUE(command->null_target);
}

TEST(CopyArgumentsTest, KeepsOptionsOfTheCommandInBrackets) {
  const auto shielded = shield_bracketed({"[", "qemu-nbd", "-f", "raw", "d", "]", "null:"});
  EXPECT_FALSE(shielded[2].starts_with("-"));
  const auto ends = parse_copy_ends(shielded, SourceKind::HttpRange);
  ASSERT_TRUE(ends);
  EXPECT_THAT(ends->command, ElementsAre("qemu-nbd", "-f", "raw", "d"));
}

TEST(CopyArgumentsTest, RefusesWhatItCannotRead) {
  const std::vector<std::vector<std::string>> cases{{},
                                                    {"a"},
                                                    {"a", "b", "c"},
                                                    {"[", "nbdkit", "b"},
                                                    {"[", "]", "b"},
                                                    {"ftp://h/a", "b"},
                                                    {"a", "nbd://h/b"}};
  for (const auto& words : cases)
    EXPECT_FALSE(parse_copy_ends(words, SourceKind::HttpRange)) << words.size();
  EXPECT_FALSE(parse_copy_ends({"disk.raw", "b"}, SourceKind::Imageio));
  EXPECT_FALSE(command_on_socket({"cat", "x"}, "/s"));
  EXPECT_THAT(*command_on_socket({"mine", "-k", "{socket}"}, "/s"),
              ElementsAre("mine", "-k", "/s"));
}

}  // namespace
}  // namespace vmferry::cli
