// Commands against a temporary home with a store; no other process runs.
#include "cli/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace vmferry::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class CommandsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "vmferry-cli-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    home_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(home_); }

  int run(std::vector<std::string> words) {
    out_.str("");
    err_.str("");
    const FakeClock clock;
    Context context{.out = out_, .err = err_, .clock = clock, .stop = {}, .log = {}};
    CLI::App app("test", "vmferry");
    add_global_options(app, context);
    for (auto* add : {add_apply, add_get, add_describe, add_wait, add_delete, add_explain,
                      add_watch, add_limit, add_version}) {
      add(app, context);
    }
    words.insert(words.begin(), {"vmferry", "--home", home_});
    std::vector<const char*> arguments;
    for (const std::string& word : words) arguments.push_back(word.c_str());
    return parse_and_run(app, context, static_cast<int>(arguments.size()), arguments.data());
  }

  std::string file(const std::string& text) {
    const std::string path = home_ + "/input.yaml";
    std::ofstream(path) << text;
    return path;
  }

  std::string home_;
  std::ostringstream out_, err_;
};

constexpr const char* kSecret =
    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: creds\nstringData:\n  vmware: topsecret\n";

TEST_F(CommandsTest, ApplyCreatesThenLeavesUnchanged) {
  EXPECT_EQ(run({"apply", "-f", file(kSecret)}), kOk) << err_.str();
  EXPECT_EQ(out_.str(), "secret/creds created\n");
  EXPECT_EQ(run({"apply", "-f", file(kSecret)}), kOk);
  EXPECT_EQ(out_.str(), "secret/creds unchanged\n");
}

TEST_F(CommandsTest, GetNeverPrintsSecretsUnasked) {
  ASSERT_EQ(run({"apply", "-f", file(kSecret)}), kOk);
  for (const char* form : {"yaml", "json", "wide"}) {
    EXPECT_EQ(run({"get", "secret", "creds", "-o", form}), kOk) << err_.str();
    EXPECT_THAT(out_.str(), Not(HasSubstr("topsecret")));
    EXPECT_THAT(out_.str(), Not(HasSubstr("dG9wc2VjcmV0")));
  }
}

TEST_F(CommandsTest, OneBadDocumentKeepsAllFromBeingApplied) {
  const std::string text =
      std::string(kSecret) + "---\napiVersion: v1\nkind: Nonsense\nmetadata:\n  name: x\n";
  EXPECT_EQ(run({"apply", "-f", file(text)}), kBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("input.yaml:"));
  EXPECT_THAT(err_.str(), HasSubstr("Nonsense"));
  EXPECT_THAT(err_.str(), HasSubstr("remedy: "));
  EXPECT_EQ(run({"get", "secret", "creds"}), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("there is no secret/creds"));
}

TEST_F(CommandsTest, DeleteRemovesWhatNobodyHolds) {
  ASSERT_EQ(run({"apply", "-f", file(kSecret)}), kOk);
  EXPECT_EQ(run({"delete", "secret", "creds"}), kOk) << err_.str();
  EXPECT_EQ(out_.str(), "secret/creds deleted\n");
}

TEST_F(CommandsTest, UsageErrorsAreBadInput) {
  const std::vector<std::vector<std::string>> cases{{},
                                                    {"nonsense"},
                                                    {"get"},
                                                    {"get", "nonsense"},
                                                    {"apply"},
                                                    {"limit", "fast"},
                                                    {"wait", "import", "x", "--for=never"},
                                                    {"explain", "VMF-NO"}};
  for (const auto& words : cases) {
    EXPECT_EQ(run(words), kBadInput) << testing::PrintToString(words);
    EXPECT_THAT(err_.str(), HasSubstr("error: "));
  }
}

TEST_F(CommandsTest, EveryHelpShowsAnExample) {
  for (const char* name :
       {"apply", "get", "describe", "wait", "delete", "explain", "watch", "limit"}) {
    EXPECT_EQ(run({name, "--help"}), kOk);
    EXPECT_THAT(out_.str(), HasSubstr("Example")) << name;
  }
}

}  // namespace
}  // namespace vmferry::cli
