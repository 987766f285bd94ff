#include "coordinator/kube/rest/exec_plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "common/catalogue.h"
#include "common/fd.h"
#include "coordinator/kube/rest/run_program.h"
#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class ExecPluginTest : public ::testing::Test {
 protected:
  // A plugin that is a shell script; $1 and the environment are as the command says.
  std::unique_ptr<ExecPlugin> plugin(const std::string& script, const std::string& version = "v1") {
    const std::string path = dir_.path("plugin");
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    chmod(path.c_str(), 0700);
    auto command = parse_exec({{"apiVersion", "client.authentication.k8s.io/" + version},
                               {"command", "./plugin"},
                               {"args", {dir_.path("out")}},
                               {"env", {{{"name", "WHO"}, {"value", "me"}}}},
                               {"provideClusterInfo", true},
                               {"installHint", "install it with care"}},
                              dir_.root());
    EXPECT_TRUE(command.ok());
    command->cluster = {{"server", "https://k"}};
    return std::make_unique<ExecPlugin>(*std::move(command), Credential{}, clock_, Logger());
  }
  static std::string reply(const std::string& status, const std::string& version = "v1") {
    return "echo '{\"apiVersion\": \"client.authentication.k8s.io/" + version +
           "\", \"kind\": \"ExecCredential\", \"status\": " + status + "}'";
  }

  embedded::TempDir dir_;
  FakeClock clock_;
};

TEST_F(ExecPluginTest, TellsThePluginWhatItNeedsAndTakesItsToken) {
  const auto exec =
      plugin("echo \"$WHO $KUBERNETES_EXEC_INFO\" > $1\n" + reply(R"({"token": "t1"})"));
  const auto credential = exec->current({});
  ASSERT_TRUE(credential.ok()) << to_string(credential.error());
  EXPECT_EQ(credential->authorization.reveal(), "Bearer t1");
  const std::string told = *read_file(dir_.path("out"));
  ASSERT_TRUE(told.starts_with("me "));
  EXPECT_EQ(json::parse(told.substr(3)),
            (json{{"apiVersion", "client.authentication.k8s.io/v1"},
                  {"kind", "ExecCredential"},
                  {"spec", {{"interactive", false}, {"cluster", {{"server", "https://k"}}}}}}));
}

TEST_F(ExecPluginTest, RunsAgainWhenItsAnswerExpiresOrIsRefused) {
  const auto soon = to_rfc3339(clock_.wall() + std::chrono::minutes(10));
  const auto exec = plugin(
      "echo x >> $1\nn=$(wc -l < $1)\n" +
          reply("{\"token\": \"t'$n'\", \"expirationTimestamp\": \"" + soon + "\"}", "v1beta1"),
      "v1beta1");
  const auto first = exec->current({});
  ASSERT_TRUE(first.ok()) << to_string(first.error());
  EXPECT_EQ(first->authorization.reveal(), "Bearer t1");
  clock_.advance(std::chrono::minutes(5));
  EXPECT_EQ(exec->current({})->authorization.reveal(), "Bearer t1");
  EXPECT_TRUE(exec->refused(first->generation));
  const auto second = exec->current({});
  EXPECT_EQ(second->authorization.reveal(), "Bearer t2");
  EXPECT_TRUE(exec->refused(first->generation));  // the one before: no reason to run again
  EXPECT_EQ(exec->current({})->authorization.reveal(), "Bearer t2");
  clock_.advance(std::chrono::minutes(5));
  EXPECT_EQ(exec->current({})->authorization.reveal(), "Bearer t3");
}

TEST_F(ExecPluginTest, TakesCertificates) {
  const auto credential =
      plugin(reply(R"({"clientCertificateData": "CERT", "clientKeyData": "KEY"})"))->current({});
  ASSERT_TRUE(credential.ok());
  EXPECT_EQ(credential->certificate_pem, "CERT");
  EXPECT_EQ(credential->key_pem.reveal(), "KEY");
}

TEST_F(ExecPluginTest, SaysWhatIsWrongWithoutShowingTheAnswer) {
  const struct {
    std::string script;
    const char* text;
  } cases[] = {
      {"exit 7", "ended with status 7"},
      {"kill -9 $$", "ended with signal 9"},
      {"echo hunter2", "did not print an ExecCredential"},
      {reply(R"({"token": "hunter2"})", "v1beta1"), "printed apiVersion"},
      {reply(R"({"token": "hunter2", "expirationTimestamp": "soon"})"), "expirationTimestamp"},
      {reply(R"({"clientKeyData": "hunter2"})"), "without the other"},
      {reply("{}"), "neither token nor certificate"},
      {"head -c 2000000 /dev/zero", "printed more than"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto credential = plugin(c.script)->current({});
    ASSERT_FALSE(credential.ok());
    EXPECT_EQ(credential.error().kind(), ErrorKind::PermissionDenied);
    EXPECT_EQ(credential.error().code(), code::kClusterCredentials);
    EXPECT_THAT(credential.error().message(), HasSubstr(c.text));
    EXPECT_THAT(credential.error().message(), Not(HasSubstr("hunter2")));
  }
}

TEST_F(ExecPluginTest, TellsHowToInstallAMissingPlugin) {
  const auto exec = plugin("");
  ASSERT_EQ(::unlink(dir_.path("plugin").c_str()), 0);
  EXPECT_THAT(exec->current({}).error().message(), HasSubstr("install it with care"));
}

TEST(RunProgramTest, EndsTheProgramWithItsLimitAndStop) {
  const ProgramCall call{.program = "sleep",
                         .arguments = {"60"},
                         .environment = {},
                         .limit = std::chrono::milliseconds(100)};
  EXPECT_EQ(run_program(call, {}).error().kind(), ErrorKind::DeadlineExceeded);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(run_program(call, stop.get_token()).error().kind(), ErrorKind::Canceled);
}

TEST(RunProgramTest, ReadsAllThatWasPrinted) {
  const ProgramCall call{.program = "sh", .arguments = {"-c", "seq 1 100000"}, .environment = {}};
  const auto output = run_program(call, {});
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(output->size(), 588895U);
}

}  // namespace
}  // namespace vmferry::kube
