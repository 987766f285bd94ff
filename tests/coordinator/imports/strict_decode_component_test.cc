#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/places.h"

// What we make must fit the types that Kubernetes, KubeVirt and CDI publish, to the letter.
namespace vmferry::imports {
namespace {

namespace fs = std::filesystem;

std::string program() {
  if (const char* named = std::getenv("VMFERRY_STRICT_DECODE")) return named;
  return testing::build_dir() + "/../strict-decode";
}

// Its output and exit code, for these files one after another.
std::pair<std::string, int> decode(const std::vector<std::string>& files) {
  std::string command = "cat";
  for (const std::string& file : files) command += " '" + file + "'";
  command += " | '" + program() + "' 2>&1";
  std::string output;
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {"cannot start " + command, -1};
  char buffer[4096];
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, pipe)) {
    output.append(buffer, count);
  }
  return {output, pclose(pipe)};
}

// Every document of tests/data/golden, whoever put it there.
TEST(StrictDecodeTest, EveryGoldenObjectFitsItsPublishedType) {
  if (!fs::exists(program())) GTEST_SKIP() << "needs " << program() << " (./dev setup)";
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(testing::source_dir() + "/tests/data/golden")) {
    if (entry.path().extension() == ".json") files.push_back(entry.path().string());
  }
  ASSERT_GT(files.size(), 10u);
  const auto [output, status] = decode(files);
  EXPECT_EQ(status, 0) << output;
  std::istringstream lines(output);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line);) count += line.starts_with("ok ");
  EXPECT_EQ(count, files.size()) << output;
}

TEST(StrictDecodeTest, RefusesAFieldThatDoesNotExist) {
  if (!fs::exists(program())) GTEST_SKIP() << "needs " << program() << " (./dev setup)";
  const fs::path file = fs::temp_directory_path() / ("strict-decode-" + std::to_string(getpid()));
  std::ofstream(file) << R"({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
      "metadata": {"name": "a"}, "spec": {"runStrategy": "Halted",
      "template": {"spec": {"domain": {"devices": {"diks": []}}}}}})";
  const auto [output, status] = decode({file.string()});
  fs::remove(file);
  EXPECT_NE(status, 0);
  EXPECT_NE(output.find("unknown field"), std::string::npos) << output;
}

}  // namespace
}  // namespace vmferry::imports
