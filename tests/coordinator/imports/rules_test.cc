#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "coordinator/rules/findings.h"
#include "tests/support/places.h"

// The tables of coordinator/rules, and docs/rules.md, which shows them.
namespace vmferry::rules {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = testing::source_dir();
constexpr std::string_view kFirstSection = "## The request";

std::string read(const fs::path& path) {
  const std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

const char* word_of(FindingLevel level) {
  return level == kBlock ? "Block" : level == kWarn ? "Warn" : "Log";
}

std::string tables() {
  std::string text;
  for (const Section& section : kSections) {
    text += fmt::format(
        "{}## {}\n\n| Rule | Provider | Level | Overridable | Raised when | Text | Remedy |\n"
        "|---|---|---|---|---|---|---|\n",
        text.empty() ? "" : "\n", section.title);
    for (const Rule& rule : section.rules) {
      text += fmt::format("| `{}` | {} | {} | {} | {} | {} | {} |\n", rule.id, rule.provider,
                          word_of(rule.level), rule.overridable ? "yes" : "no", rule.condition,
                          rule.text, rule.remedy);
    }
  }
  return text;
}

// With VMFERRY_UPDATE_GOLDEN set the document's tables are written anew.
TEST(RulesTest, TheDocumentShowsTheTables) {
  const std::string document = read(kRoot / "docs/rules.md");
  const std::size_t start = document.find(kFirstSection);
  ASSERT_NE(start, std::string::npos);
  if (std::getenv("VMFERRY_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(kRoot / "docs/rules.md") << document.substr(0, start) << tables();
  }
  EXPECT_EQ(read(kRoot / "docs/rules.md").substr(start), tables());
}

TEST(RulesTest, FormsOfARuleStandTogetherAndAgree) {
  std::set<std::string_view> seen;
  for (const Section& section : kSections) {
    const Rule* before = nullptr;
    for (const Rule& rule : section.rules) {
      SCOPED_TRACE(fmt::format("{}/{}", rule.id, rule.form));
      const bool same = before != nullptr && before->id == rule.id;
      EXPECT_EQ(rule.form.empty(), !same);  // the usual one first
      if (same) {
        EXPECT_EQ(rule.provider, before->provider);
        EXPECT_EQ(rule.group, before->group);
        EXPECT_EQ(rule.overridable, before->overridable);
        EXPECT_EQ(find_rule(rule.id, rule.form), &rule);  // and none of this name before it
      } else {
        EXPECT_TRUE(seen.insert(rule.id).second);
      }
      before = &rule;
    }
  }
  EXPECT_GT(seen.size(), 140u);
}

TEST(RulesTest, EachSaysWhatToDo) {
  for (const Section& section : kSections) {
    for (const Rule& rule : section.rules) {
      SCOPED_TRACE(fmt::format("{}/{}", rule.id, rule.form));
      EXPECT_FALSE(rule.condition.empty() || rule.text.empty());
      EXPECT_EQ(rule.remedy.empty(), rule.level == kLog);
      EXPECT_LT(words_of(rule).count, kMostWords);
      EXPECT_EQ(rule.id.starts_with("vmware."), rule.provider == kVmware);
      for (const std::string_view text : {rule.condition, rule.text, rule.remedy}) {
        EXPECT_EQ(text.find_first_of("|\n"), text.npos) << text;  // it stands in a table
        EXPECT_FALSE(text.ends_with('.')) << text;
      }
    }
  }
}

// Levels and texts stand nowhere else: no code makes a finding by hand.
TEST(RulesTest, FindingsAreRaisedByName) {
  for (const char* directory : {"coordinator", "cli"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / directory)) {
      if (entry.path().extension() != ".cc") continue;
      const std::string name = entry.path().filename().string();
      const bool parses = name == "import_parse.cc" || name == "rehearse.cc" ||
                          entry.path().parent_path().filename() == "rules";
      const std::string text = read(entry.path());
      for (const char* by_hand :
           {"FindingLevel::Warn, FindingGroup", "Finding{", "FindingLevel::Block, FindingGroup",
            "FindingLevel::Log, FindingGroup"}) {
        EXPECT_TRUE(parses || text.find(by_hand) == std::string::npos)
            << by_hand << " in " << entry.path();
      }
    }
  }
}

TEST(FindingTest, FillsInWordsAsTheyAre) {
  constexpr Rule rule{"x", "", kBoth, kSource, kWarn, true, "c", "{a} and '{b}', {a}", "{c}: {b}"};
  static_assert(words_of(rule).count == 3);
  const Finding finding = make_finding(rule, {"1", "{a}", "\xc3\xa9"});
  EXPECT_EQ(finding.text, "1 and '{a}', 1");
  EXPECT_EQ(finding.remedy, "\xc3\xa9: {a}");
  EXPECT_EQ(finding.level, FindingLevel::Warn);
  EXPECT_EQ(rules::finding("vmware.disk.rdm/virtual", "disk 'a'").text,
            "disk 'a' is a raw device in virtual mode");
  EXPECT_EQ(
      finding_of(ProviderKind::Vmware, "network.config", "vmware.network.config", "a", "b").rule,
      "vmware.network.config");
}

}  // namespace
}  // namespace vmferry::rules
