#include <cstdlib>
#include <fstream>

#include "common/catalogue.h"
#include "coordinator/provider/ovirt/image_transfer.h"
#include "tests/coordinator/provider/ovirt/ovirt_fixture.h"

namespace vmferry::testing {
namespace {

// What happens to a transfer while its disk is copied: an agent whose ticket was refused asks for
// renewal until there is an endpoint.
class OvirtRenewal : public OvirtComponent {
 protected:
  void open_web(nlohmann::json engine = nlohmann::json::object()) {
    begin(web_bed(std::move(engine)));
    if (HasFatalFailure()) return;
    vm = read("web");
    Result<DiskOpening> opening = provider->open_disk(vm, vm.disks.at(0), "owner", {});
    ASSERT_TRUE(opening.ok()) << to_string(opening.error());
    handle = opening->handle;
    first = wait_ready(vm, disk(), handle);
    ASSERT_TRUE(first.has_value());
  }
  const SourceDisk& disk() const { return vm.disks.at(0); }

  // As an agent does it: again and again while the answer is "not yet".
  Result<DiskEndpoint> renewed() {
    Result<DiskEndpoint> last = make_error(ErrorKind::Internal, "not asked");
    eventually([&] {
      Result<DiskOpening> answer = provider->renew(vm, disk(), handle, {});
      last = answer ? Result<DiskEndpoint>(*answer->endpoint)
                    : Result<DiskEndpoint>(std::move(answer).error());
      return last.ok() || last.error().kind() != ErrorKind::Unavailable;
    });
    return last;
  }
  // The transfers that are alive.
  std::vector<std::string> alive() const {
    std::vector<std::string> ids;
    const nlohmann::json state = bed->state();
    for (const nlohmann::json& each : state.at("transfers")) {
      if (each.at("alive").get<bool>()) ids.push_back(each.at("id"));
    }
    return ids;
  }
  void expect_all_closed() {
    EXPECT_TRUE(wait_released(handle, disk().id));
    EXPECT_TRUE(alive().empty());
    const nlohmann::json disks = bed->state().at("disks");
    for (const auto& [id, each] : disks.items()) EXPECT_EQ(each.at("status"), "ok") << id;
  }

  SourceVm vm;
  std::string handle;
  std::optional<DiskEndpoint> first;
};

TEST_F(OvirtRenewal, ARevokedTransferIsReplacedAndBothAreClosed) {
  open_web();
  ASSERT_FALSE(HasFatalFailure());
  bed->post("/transfer", {{"id", handle}, {"phase", "cancelled_system"}});
  const Result<DiskEndpoint> fresh = renewed();
  ASSERT_TRUE(fresh.ok()) << to_string(fresh.error());
  EXPECT_NE(fresh->url, first->url);
  EXPECT_EQ(fresh->identity, first->identity) << "the same disk, so the copy goes on";
  EXPECT_EQ(alive().size(), 1u);
  EXPECT_NE(alive().front(), handle);
  expect_all_closed();
}

TEST_F(OvirtRenewal, AfterARestartTheReplacementIsFoundByTheOldHandle) {
  open_web();
  ASSERT_FALSE(HasFatalFailure());
  bed->post("/transfer", {{"id", handle}, {"phase", "cancelled_user"}});
  ASSERT_TRUE(renewed().ok());
  provider = connect(credentials());
  EXPECT_TRUE(wait_ready(vm, disk(), handle).has_value());
  provider = connect(credentials());
  expect_all_closed();
}

TEST_F(OvirtRenewal, ATransferThatEndsAgainAndAgainIsGivenUp_Src24) {
  open_web();
  ASSERT_FALSE(HasFatalFailure());
  for (int i = 0; i < 3; ++i) {
    bed->post("/transfer", {{"disk", disk().id}, {"phase", "cancelled_system"}});
    ASSERT_TRUE(renewed().ok()) << i;
  }
  bed->post("/transfer", {{"disk", disk().id}, {"phase", "cancelled_system"}});
  const Result<DiskEndpoint> last = renewed();
  ASSERT_FALSE(last.ok());
  EXPECT_EQ(last.error().kind(), ErrorKind::PermissionDenied);
  EXPECT_EQ(last.error().code(), code::kTicketExpired);
  expect_all_closed();
}

TEST_F(OvirtRenewal, PausedByTheSystemIsResumedThreeTimesThenReplaced) {
  open_web();
  ASSERT_FALSE(HasFatalFailure());
  for (int i = 0; i < 3; ++i) {
    bed->post("/transfer", {{"id", handle}, {"phase", "paused_system"}});
    ASSERT_TRUE(renewed().ok()) << i;
    EXPECT_EQ(alive(), std::vector<std::string>{handle});
  }
  bed->post("/transfer", {{"id", handle}, {"phase", "paused_system"}});
  ASSERT_TRUE(renewed().ok());
  ASSERT_EQ(alive().size(), 1u);
  EXPECT_NE(alive().front(), handle);
  EXPECT_TRUE(transfer(handle).at("cancelled").get<bool>());
  expect_all_closed();
}

TEST_F(OvirtRenewal, AHostThatLostTheTicketIsWaitedForUntilTheEngineSeesIt) {
  open_web({{"monitor_seconds", 1.5}});
  ASSERT_FALSE(HasFatalFailure());
  bed->post("/restart-imageio", nlohmann::json::object());
  // The engine does not know yet: an extension helps nobody, and is not asked for twice.
  const Result<DiskEndpoint> fresh = renewed();
  ASSERT_TRUE(fresh.ok());
  if (fresh->url == first->url) {
    const Result<DiskEndpoint> second = renewed();
    ASSERT_TRUE(second.ok()) << to_string(second.error());
    EXPECT_NE(second->url, first->url);
  }
  EXPECT_LE(bed->requests("POST", "/extend"), 2) << "the lost ticket, and the new one";
  expect_all_closed();
}

TEST_F(OvirtRenewal, ATicketIsExtendedBeforeItEndsWhetherAnybodyReadsOrNot) {
  open_web({{"ticket_timeout", 300}});
  ASSERT_FALSE(HasFatalFailure());
  FakeClock clock;
  auto options = ovirt::client_options(credentials());
  ASSERT_TRUE(options.ok());
  ovirt::Client client(*std::move(options), Logger());
  ovirt::ImageTransfers transfers(client, clock, Logger());
  for (int minute = 0; minute < 10; ++minute) {
    transfers.keep_alive(handle, {});
    clock.advance(std::chrono::minutes(1));
  }
  EXPECT_EQ(bed->requests("POST", "/extend"), 4) << "every other minute after the first two";
  // What cannot be extended is no business of this: its renewal deals with it.
  bed->post("/transfer", {{"id", handle}, {"phase", "paused_system"}});
  clock.advance(std::chrono::minutes(2));
  transfers.keep_alive(handle, {});
  EXPECT_EQ(transfer(handle).at("phase"), "paused_system");
  ASSERT_TRUE(renewed().ok());
  expect_all_closed();
}

TEST_F(OvirtRenewal, ATransferWithoutAHostsAddressIsReadThroughTheProxyAndSaysSo) {
  open_web({{"transfer_url", false}});
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_NE(first->url.find("/images/"), std::string::npos);
  EXPECT_EQ(first->fallback_url, "");
  const Result<DiskOpening> opening = provider->poll_disk(vm, disk(), handle, {});
  ASSERT_TRUE(opening.ok());
  EXPECT_NE(opening->why.find("proxy"), std::string::npos);
  expect_all_closed();
}

TEST_F(OvirtRenewal, AFinalizeWhoseAnswerIsLostIsNotSentTwice) {
  open_web({{"finalizing_seconds", 1.0}});
  ASSERT_FALSE(HasFatalFailure());
  bed->post("/fault", {{"path_regex", "/finalize"}, {"method", "POST"}, {"drop", "after"}});
  EXPECT_FALSE(provider->release_disk(handle, disk().id, "owner", true, {}).ok());
  expect_all_closed();
  EXPECT_EQ(bed->requests("POST", "/finalize"), 1);
  EXPECT_EQ(bed->requests("POST", "/cancel"), 0);
}

TEST_F(OvirtRenewal, AFinalizeThatNeverArrivedIsSentAgain) {
  open_web();
  ASSERT_FALSE(HasFatalFailure());
  bed->post("/fault", {{"path_regex", "/finalize"}, {"method", "POST"}, {"drop", "before"}});
  EXPECT_FALSE(provider->release_disk(handle, disk().id, "owner", true, {}).ok());
  expect_all_closed();
  EXPECT_TRUE(transfer(handle).at("finalized").get<bool>());
}

TEST_F(OvirtRenewal, AnotherImportsTransferOfTheSameDiskIsLeftAlone) {
  open_web();
  ASSERT_FALSE(HasFatalFailure());
  const Result<DiskOpening> other = provider->open_disk(vm, disk(), "another import", {});
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code(), code::kDiskLocked);
  EXPECT_TRUE(*provider->release_disk("", disk().id, "another import", false, {}));
  EXPECT_EQ(alive(), std::vector<std::string>{handle});
  const Result<DiskOpening> same = provider->open_disk(vm, disk(), "owner", {});
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->handle, handle);
  expect_all_closed();
}

TEST_F(OvirtRenewal, AResizedDiskIsNotCopiedOn) {
  open_web();
  ASSERT_FALSE(HasFatalFailure());
  bed->post("/transfer", {{"id", handle}, {"phase", "cancelled_user"}});
  bed->post("/disk", {{"id", disk().id}, {"provisioned_size", 8u << 20}});
  const Result<DiskEndpoint> refused = renewed();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), code::kSourceChanged);
  EXPECT_EQ(refused.error().kind(), ErrorKind::DataLoss);
  expect_all_closed();
}

TEST_F(OvirtRenewal, AMachineThatRunsKeepsARevokedTransferFromComingBack) {
  open_web();
  ASSERT_FALSE(HasFatalFailure());
  bed->post("/transfer", {{"id", handle}, {"phase", "cancelled_user"}});
  EXPECT_TRUE(eventually([&] { return alive().empty(); }));
  bed->post("/vm", {{"id", "web"}, {"status", "up"}});
  EXPECT_TRUE(eventually([&] {
    const Result<DiskOpening> answer = provider->renew(vm, disk(), handle, {});
    return !answer.ok() && answer.error().code() == code::kVmState;
  }));
  expect_all_closed();
}

TEST_F(OvirtRenewal, ThePublicAuthoritiesAreTrustedBesideTheHostsOwn_Src34) {
  begin(web_bed(), /*separate_host_authority=*/true);
  ASSERT_FALSE(HasFatalFailure());
  const std::string engine_url = bed->url();
  const auto status_of = [&](const TlsTrust& trust) {
    const auto client = HttpClient::make({.trust = trust,
                                          .unix_socket = "",
                                          .user_agent = "test",
                                          .resolve = {},
                                          .receive_buffer = 1u << 20});
    HttpRequest request;
    request.url = engine_url;
    const Result<HttpResponse> response = (*client)->send(request, {});
    return response.ok() ? response->status : -1;
  };
  vm = read("web");
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  const auto endpoint = wait_ready(vm, vm.disks[0], opening->handle);
  ASSERT_TRUE(endpoint.has_value());
  EXPECT_FALSE(endpoint->trust.system_too) << "whoever names an authority trusts no other";
  handle = opening->handle;

  // A system that has the engine's authority in its store.
  const std::string host_ca = endpoint->trust.ca_pem.substr(bed->ca_pem().size());
  const std::string store = ::testing::TempDir() + "/ovirt-system-store.pem";
  std::ofstream(store) << bed->ca_pem();
  ::setenv("SSL_CERT_FILE", store.c_str(), 1);
  EXPECT_EQ(status_of({.ca_pem = host_ca, .thumbprint = "", .system_too = true}), 401);
  EXPECT_EQ(status_of({.ca_pem = host_ca, .thumbprint = "", .system_too = false}), -1);
  ::unsetenv("SSL_CERT_FILE");
  expect_all_closed();
}

}  // namespace
}  // namespace vmferry::testing
