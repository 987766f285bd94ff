#include "coordinator/provider/ovirt/client.h"

#include <gtest/gtest.h>

#include "common/catalogue.h"
#include "coordinator/provider/ovirt/image_transfer.h"
#include "coordinator/provider/ovirt/inventory.h"
#include "coordinator/provider/ovirt/sign_on.h"
#include "coordinator/provider/provider.h"

namespace vmferry::ovirt {
namespace {

HttpResponse response(int status, std::string body) {
  HttpResponse result;
  result.status = status;
  result.body = std::move(body);
  return result;
}

TEST(OvirtClientTest, NormalisesTheUrl) {
  struct Case {
    const char *url, *origin, *path;
  };
  const Case cases[] = {
      {"https://e.test", "https://e.test", "/ovirt-engine/api"},
      {"https://e.test/", "https://e.test", "/ovirt-engine/api"},
      {"https://e.test/ovirt-engine", "https://e.test", "/ovirt-engine/api"},
      {"https://e.test:8443/ovirt-engine/api/", "https://e.test:8443", "/ovirt-engine/api"},
      {"https://e.test/other/api?x=1", "https://e.test", "/other/api"},
  };
  for (const Case& c : cases) {
    ProviderCredentials credentials;
    credentials.api_url = c.url;
    const Result<ClientOptions> options = client_options(credentials);
    ASSERT_TRUE(options.ok()) << c.url;
    EXPECT_TRUE(options->origin.starts_with(c.origin)) << options->origin;
    EXPECT_EQ(options->base_path, c.path);
  }
  for (const char* url : {"http://e.test", "ftp://e.test", "e.test", ""}) {
    ProviderCredentials credentials;
    credentials.api_url = url;
    const Result<ClientOptions> options = client_options(credentials);
    ASSERT_FALSE(options.ok()) << url;
    EXPECT_EQ(options.error().code(), code::kSecretInvalid);
  }
}

TEST(OvirtClientTest, Ov130WithoutAConnectionEveryCallIsAnError) {
  ProviderCredentials credentials;
  credentials.kind = ProviderKind::Ovirt;
  credentials.api_url = "https://127.0.0.1:9/ovirt-engine/api";  // nobody listens on discard
  credentials.username = "admin@internal";
  credentials.password = SecretString("p");
  const auto provider = make_ovirt_provider(credentials, Logger());
  ASSERT_TRUE(provider.ok()) << to_string(provider.error());
  const auto expect_unreachable = [](const auto& result) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), code::kSourceUnreachable);
    EXPECT_TRUE(is_retryable(result.error().kind()));
  };
  expect_unreachable((*provider)->check_connection({}));
  VmRef ref;
  ref.id = "1";
  expect_unreachable((*provider)->find_vm(ref, {}));
  expect_unreachable((*provider)->power_state("1", {}));
  expect_unreachable((*provider)->start("1", {}));
  expect_unreachable((*provider)->request_stop("1", false, {}));
  (*provider)->close();
}

TEST(OvirtClientTest, ATokenMayComeInAnArray_Src3) {
  const std::string token = R"({"access_token":"t1","exp":"9223372036854775807"})";
  for (const std::string& body : {token, "[" + token + "]"}) {
    const Result<SecretString> read = token_of(response(200, body), "u");
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->reveal(), "t1");
  }
}

TEST(OvirtClientTest, AnErrorInTheBodyDecidesNotTheStatus_Src4) {
  for (const int status : {200, 400, 401}) {
    const Result<SecretString> read = token_of(
        response(status, R"({"error":"access_denied","error_description":"no"})"), "admin");
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().kind(), ErrorKind::PermissionDenied);
    EXPECT_EQ(read.error().code(), code::kSourceAuth);
  }
}

TEST(OvirtClientTest, AFaultOfStatus400IsARefusedLogin_Src4) {
  const std::pair<const char*, const char*> bodies[] = {
      {"application/json", R"({"reason":"Operation Failed","detail":"[Wrong password.]"})"},
      {"application/json", R"({"status":"failed","fault":{"reason":"Wrong password."}})"},
      {"application/json", R"({"error_code":"access_denied","error":"Wrong password."})"},
      {"application/xml", "<fault><reason>x</reason><detail>Wrong password.</detail></fault>"},
      {"application/xml;charset=UTF-8",
       "<action><status>failed</status><fault><reason>Wrong password.</reason></fault></action>"},
  };
  for (const auto& [type, body] : bodies) {
    HttpResponse answer = response(400, body);
    answer.headers["content-type"] = type;
    const Result<SecretString> read = token_of(answer, "admin");
    ASSERT_FALSE(read.ok()) << body;
    EXPECT_EQ(read.error().code(), code::kSourceAuth) << body;
    EXPECT_NE(read.error().message().find("Wrong password."), std::string::npos) << body;
  }
  EXPECT_EQ(token_of(response(401, ""), "admin").error().code(), code::kSourceAuth);
}

TEST(OvirtClientTest, OtherSignOnAnswersAreNotAboutThePassword) {
  struct Case {
    int status;
    std::string body;
    std::string_view code;
  };
  const Case cases[] = {
      {200, "<html></html>", code::kSourceProtocol},
      {200, "[]", code::kSourceProtocol},
      {200, "{}", code::kSourceProtocol},
      {200, R"({"access_token":"a\r\nX: y"})", code::kSourceProtocol},
      {200, R"({"access_token":7})", code::kSourceProtocol},
      {503, "<html></html>", code::kSourceUnreachable},
      {500, R"({"error":"server_error"})", code::kSourceUnreachable},
  };
  for (const Case& c : cases) {
    const Result<SecretString> read = token_of(response(c.status, c.body), "u");
    ASSERT_FALSE(read.ok()) << c.body;
    EXPECT_EQ(read.error().code(), c.code) << c.body;
  }
}

TEST(OvirtClientTest, RefusalsBecomeErrorsThatSteer) {
  struct Case {
    int status;
    std::optional<std::string> fault;
    ErrorKind kind;
    std::string_view code;
  };
  const Case cases[] = {
      {409, "Cannot run VM. Disk is locked.", ErrorKind::Unavailable, code::kDiskLocked},
      {409, "Related operation is currently in progress", ErrorKind::Unavailable,
       code::kDiskLocked},
      {200, "The VM is being migrated", ErrorKind::Unavailable, code::kDiskLocked},
      {409, "VM is not running.", ErrorKind::InvalidArgument, code::kVmState},
      {404, "Entity not found", ErrorKind::NotFound, ""},
      {404, std::nullopt, ErrorKind::NotFound, ""},
      {403, "no permission", ErrorKind::PermissionDenied, code::kSourceAuth},
      {503, std::nullopt, ErrorKind::Unavailable, code::kSourceUnreachable},
      {400, "malformed, not locked", ErrorKind::InvalidArgument, code::kSourceProtocol},
  };
  for (const Case& c : cases) {
    Reply reply;
    reply.status = c.status;
    reply.fault = c.fault;
    EXPECT_FALSE(reply.ok());
    const Error error = reply.error("what");
    EXPECT_EQ(error.kind(), c.kind) << c.status << c.fault.value_or("");
    EXPECT_EQ(error.code(), c.code) << c.status << c.fault.value_or("");
  }
}

TEST(OvirtClientTest, Ov132NamesAreQuotedOrNotSearchedForAtAll_Src35) {
  EXPECT_EQ(search_query("my vm", ""), "name=\"my vm\"");
  EXPECT_EQ(search_query("my vm", "C 1"), "name=\"my vm\" and cluster=\"C 1\"");
  EXPECT_EQ(search_query("", "C 1"), "cluster=\"C 1\"");
  EXPECT_EQ(search_query("", ""), "");
  EXPECT_TRUE(is_searchable("my vm and name=x"));
  EXPECT_FALSE(is_searchable("web*"));
  EXPECT_FALSE(is_searchable("we\"b"));
}

TEST(OvirtClientTest, PhasesOfEveryVersionAreGrouped) {
  const std::pair<const char*, PhaseGroup> cases[] = {
      {"initializing", PhaseGroup::Starting},
      {"resuming", PhaseGroup::Starting},
      {"transferring", PhaseGroup::Ready},
      {"paused_system", PhaseGroup::Paused},
      {"paused_user", PhaseGroup::Paused},
      {"finalizing_success", PhaseGroup::Finalizing},
      {"finalizing_failure", PhaseGroup::Finalizing},
      {"finalizing_cleanup", PhaseGroup::Finalizing},
      {"finished_success", PhaseGroup::Ended},
      {"finished_failure", PhaseGroup::Ended},
      {"finished_cleanup", PhaseGroup::Ended},
      {"cancelled", PhaseGroup::Ended},
      {"cancelled_user", PhaseGroup::Ended},
      {"cancelled_system", PhaseGroup::Ended},
      {"unknown", PhaseGroup::Unknown},
      {"", PhaseGroup::Unknown},
  };
  for (const auto& [phase, group] : cases) EXPECT_EQ(phase_group(phase), group) << phase;
}

TEST(OvirtClientTest, OnlyDownloadsWithOurMarksAreAdopted) {
  ImageTransfer ours;
  ours.disk_id = "d";
  ours.direction = "download";
  ours.format = "raw";
  ours.phase = "initializing";
  ours.inactivity_timeout = kInactivitySeconds;
  ours.timeout_policy = "cancel";
  EXPECT_TRUE(is_ours(ours, "d"));
  const auto changed = [&](auto change) {
    ImageTransfer other = ours;
    change(other);
    return is_ours(other, "d");
  };
  EXPECT_TRUE(changed([](ImageTransfer& t) { t.timeout_policy.reset(); })) << "older engine";
  EXPECT_FALSE(changed([](ImageTransfer& t) { t.disk_id = "e"; }));
  EXPECT_FALSE(changed([](ImageTransfer& t) { t.direction = "upload"; }));
  EXPECT_FALSE(changed([](ImageTransfer& t) { t.format = "cow"; }));
  EXPECT_FALSE(changed([](ImageTransfer& t) { t.inactivity_timeout = 60; }));
  EXPECT_FALSE(changed([](ImageTransfer& t) { t.phase = "finished_success"; }));
}

TEST(OvirtClientTest, CorrelationIdsFitTheEnginesLimit) {
  EXPECT_EQ(correlation_of("abc"), "vmferry-abc");
  EXPECT_EQ(correlation_of(std::string(80, 'x')).size(), 50u);
}

}  // namespace
}  // namespace vmferry::ovirt
