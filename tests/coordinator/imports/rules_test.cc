#include "coordinator/imports/rules.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/support/places.h"

namespace vmferry::imports {
namespace {

std::string read(const std::filesystem::path& path) {
  const std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

const std::filesystem::path kRoot = testing::source_dir();

TEST(RulesTest, TheDocumentShowsTheTable) {
  const std::string document = read(kRoot / "docs/rules.md");
  std::set<std::string_view> ids;
  std::size_t rows = 0;
  for (const Rule& rule : all_rules()) {
    EXPECT_TRUE(ids.insert(rule.id).second) << rule.id;
    const char* const level = rule.level == FindingLevel::Block  ? "Block"
                              : rule.level == FindingLevel::Warn ? "Warn"
                                                                 : "Log";
    const std::string row = fmt::format("| `{}` | {} | {} | {} | {} |\n", rule.id, rule.provider,
                                        level, rule.overridable ? "yes" : "no", rule.condition);
    EXPECT_NE(document.find(row), std::string::npos) << row;
  }
  for (std::size_t at = document.find("## The request");
       (at = document.find("\n| `", at)) != std::string::npos; ++at)
    ++rows;
  EXPECT_EQ(rows, all_rules().size());
}

// Literals that look like an id of a rule in the code that raises findings.
TEST(RulesTest, EveryRaisedRuleIsInTheTable) {
  const std::regex literal(
      R"lit("((?:vmware\.|request\.)?(?:vm|nic|disk|disk_attachments?|network|storage|request|mapping|cdrom|firmware|api|source|secret|warm)\.[a-z_0-9.]+(?: template\.requests)?)")lit");
  std::size_t seen = 0;
  for (const char* directory : {"coordinator/imports", "coordinator/provider"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(kRoot / directory)) {
      const std::string name = entry.path().filename().string();
      const bool raises = name.starts_with("validation") ||
                          name.find("rules") != std::string::npos ||
                          name.find("findings") != std::string::npos;
      if (!raises || entry.path().extension() != ".cc") continue;
      const std::string text = read(entry.path());
      for (std::sregex_iterator it(text.begin(), text.end(), literal), end; it != end; ++it) {
        const std::string id = (*it)[1];
        if (id.find("kubevirt.io") != std::string::npos) continue;
        EXPECT_NE(find_rule(id), nullptr) << id << " in " << entry.path();
        ++seen;
      }
    }
  }
  EXPECT_GT(seen, 20u);
}

}  // namespace
}  // namespace vmferry::imports
