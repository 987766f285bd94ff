#include "common/catalogue.h"
#include "tests/coordinator/provider/ovirt/ovirt_fixture.h"

namespace vmferry::testing {
namespace {

using OvirtTransfer = OvirtComponent;

TEST_F(OvirtTransfer, OpensReadsAndReleasesADisk) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  ASSERT_EQ(vm.disks.size(), 2u);
  const SourceDisk& disk = vm.disks[0];
  EXPECT_EQ(disk.name, "boot");
  EXPECT_EQ(disk.size_bytes, 4u << 20);

  const Result<DiskOpening> opening = provider->open_disk(vm, disk, "owner", {});
  ASSERT_TRUE(opening.ok()) << to_string(opening.error());
  EXPECT_FALSE(opening->endpoint.has_value());
  const std::optional<DiskEndpoint> endpoint = wait_ready(vm, disk, opening->handle);
  ASSERT_TRUE(endpoint.has_value());
  EXPECT_EQ(endpoint->kind, SourceKind::Imageio);
  EXPECT_EQ(endpoint->size_bytes, 4u << 20);
  EXPECT_EQ(endpoint->max_connections, 4);
  EXPECT_EQ(endpoint->request_bytes, 8u << 20);
  EXPECT_FALSE(endpoint->fallback_url.empty());

  const auto client = HttpClient::make({.trust = endpoint->trust,
                                        .unix_socket = "",
                                        .user_agent = "test",
                                        .resolve = {},
                                        .receive_buffer = 1u << 20});
  HttpRequest request;
  request.url = endpoint->url;
  request.headers = {{"Range", "bytes=512-1023"}};
  const Result<HttpResponse> bytes = (*client)->send(request, {});
  ASSERT_TRUE(bytes.ok()) << to_string(bytes.error());
  EXPECT_EQ(bytes->status, 206);
  EXPECT_EQ(bytes->body.substr(0, 2), std::string("1\0", 2));

  EXPECT_TRUE(wait_released(opening->handle, disk.id));
  const nlohmann::json made = transfer(opening->handle);
  EXPECT_EQ(made.at("phase"), "finished_success");
  EXPECT_EQ(bed->requests("POST", "/finalize"), 1);
  EXPECT_EQ(bed->requests("POST", "/cancel"), 0);
  // Again, and of a transfer that never was: gone is gone.
  EXPECT_TRUE(*provider->release_disk(opening->handle, disk.id, "owner", true, {}));
  EXPECT_TRUE(*provider->release_disk("", disk.id, "owner", false, {}));
}

TEST_F(OvirtTransfer, IdentityChangesWhenTheMachineRanBetweenTwoAttempts_Src38) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  const auto identity = [&] {
    const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
    EXPECT_TRUE(opening.ok());
    const auto endpoint = wait_ready(vm, vm.disks[0], opening->handle);
    EXPECT_TRUE(wait_released(opening->handle, vm.disks[0].id));
    return endpoint->identity;
  };
  const auto first = identity();
  EXPECT_EQ(identity(), first);
  bed->post("/vm", {{"id", "web"}, {"status", "up"}});
  bed->post("/vm", {{"id", "web"}, {"status", "down"}});
  EXPECT_NE(identity(), first);
}

TEST_F(OvirtTransfer, AdoptsTheTransferWhoseAnswerWasLost_Src8) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  bed->post("/fault", {{"path_regex", "imagetransfers$"}, {"method", "POST"}, {"drop", "after"}});
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  ASSERT_TRUE(opening.ok()) << to_string(opening.error());
  EXPECT_EQ(bed->state().at("transfers").size(), 1u);
  EXPECT_EQ(bed->requests("POST", "/imagetransfers"), 1);
  // After a restart the same transfer is found, and by its disk alone it is released.
  provider = connect(credentials());
  const Result<DiskOpening> again = provider->open_disk(vm, vm.disks[0], "owner", {});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->handle, opening->handle);
  EXPECT_TRUE(wait_released("", vm.disks[0].id));
}

TEST_F(OvirtTransfer, LockedTwiceThenOk_Src9) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  bed->post("/fault", {{"path_regex", "imagetransfers$"},
                       {"method", "POST"},
                       {"times", 2},
                       {"status", 409},
                       {"body",
                        "<fault><reason>Operation Failed</reason><detail>[Cannot transfer Virtual "
                        "Disk: The following disks are locked: boot.]</detail></fault>"}});
  for (int i = 0; i < 2; ++i) {
    const Result<DiskOpening> refused = provider->open_disk(vm, vm.disks[0], "owner", {});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), code::kDiskLocked);
    EXPECT_EQ(refused.error().kind(), ErrorKind::Unavailable);
  }
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  ASSERT_TRUE(opening.ok()) << to_string(opening.error());
  EXPECT_TRUE(wait_released(opening->handle, vm.disks[0].id));
}

TEST_F(OvirtTransfer, ToleratesAnUnknownPhaseThreeTimesThenCancels_Src6) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  ASSERT_TRUE(opening.ok());
  bed->post("/transfer", {{"id", opening->handle}, {"phase", "thinking_hard"}});
  for (int i = 0; i < 3; ++i) {
    const Result<DiskOpening> poll = provider->poll_disk(vm, vm.disks[0], opening->handle, {});
    ASSERT_TRUE(poll.ok());
    EXPECT_FALSE(poll->endpoint.has_value());
  }
  const Result<DiskOpening> last = provider->poll_disk(vm, vm.disks[0], opening->handle, {});
  ASSERT_FALSE(last.ok());
  EXPECT_NE(last.error().message().find("thinking_hard"), std::string::npos);
  EXPECT_TRUE(transfer(opening->handle).at("cancelled").get<bool>());
}

TEST_F(OvirtTransfer, CancelsWhatTheSystemPausedAndNamesTheHost_Src7) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  ASSERT_TRUE(opening.ok());
  bed->post("/transfer", {{"id", opening->handle}, {"phase", "paused_system"}});
  const Result<DiskOpening> poll = provider->poll_disk(vm, vm.disks[0], opening->handle, {});
  ASSERT_FALSE(poll.ok());
  EXPECT_NE(poll.error().message().find("host1"), std::string::npos) << to_string(poll.error());
  EXPECT_TRUE(transfer(opening->handle).at("cancelled").get<bool>());
  EXPECT_TRUE(wait_released(opening->handle, vm.disks[0].id));
}

TEST_F(OvirtTransfer, ATransferForgottenAfterFinalizeIsDoneWhenTheDiskIsOk_Src10) {
  begin(web_bed({{"finished_kept_seconds", 0}}));
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  ASSERT_TRUE(wait_ready(vm, vm.disks[0], opening->handle).has_value());
  EXPECT_TRUE(wait_released(opening->handle, vm.disks[0].id));
  const Result<DiskOpening> poll = provider->poll_disk(vm, vm.disks[0], opening->handle, {});
  EXPECT_FALSE(poll.ok());
}

TEST_F(OvirtTransfer, ATransferForgottenAfterFinalizeFailsWhenTheDiskIsIllegalOrGone_Src11) {
  begin(web_bed({{"finished_kept_seconds", 0}}));
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  bed->post("/disk", {{"id", "boot"}, {"status", "illegal"}});
  EXPECT_FALSE(provider->release_disk("no-such", vm.disks[0].id, "owner", true, {}).ok());
  const Result<bool> gone = provider->release_disk("no-such", "no-disk", "owner", true, {});
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code(), code::kDiskMissing);
}

TEST_F(OvirtTransfer, AnActionAnsweredWith200AndAFaultIsARefusal_Src40) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  ASSERT_TRUE(wait_ready(vm, vm.disks[0], opening->handle).has_value());
  bed->post("/fault", {{"path_regex", "/finalize"},
                       {"method", "POST"},
                       {"status", 200},
                       {"body",
                        "<action><status>failed</status><fault><reason>Operation Failed"
                        "</reason><detail>[Not now.]</detail></fault></action>"}});
  EXPECT_TRUE(wait_released(opening->handle, vm.disks[0].id));
  EXPECT_TRUE(transfer(opening->handle).at("cancelled").get<bool>());
}

TEST_F(OvirtTransfer, RenewsExtendsAndResumes) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  const auto first = wait_ready(vm, vm.disks[0], opening->handle);
  ASSERT_TRUE(first.has_value());
  const Result<DiskOpening> extended = provider->renew(vm, vm.disks[0], opening->handle, {});
  ASSERT_TRUE(extended.ok()) << to_string(extended.error());
  EXPECT_EQ(extended->endpoint->url, first->url);
  EXPECT_TRUE(transfer(opening->handle).at("extended").get<bool>());

  bed->post("/transfer", {{"id", opening->handle}, {"phase", "paused_system"}});
  std::string url;
  EXPECT_TRUE(eventually([&] {
    const Result<DiskOpening> resumed = provider->renew(vm, vm.disks[0], opening->handle, {});
    if (resumed.ok()) {
      url = resumed->endpoint->url;
    } else {
      EXPECT_EQ(resumed.error().kind(), ErrorKind::Unavailable);
    }
    return resumed.ok();
  }));
  EXPECT_NE(url, first->url);

  EXPECT_TRUE(wait_released(opening->handle, vm.disks[0].id));
  const Result<DiskOpening> ended = provider->renew(vm, vm.disks[0], opening->handle, {});
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().kind(), ErrorKind::PermissionDenied);
  EXPECT_EQ(ended.error().code(), code::kTicketExpired);
}

TEST_F(OvirtTransfer, RefusesWhatCannotBeTransferredBeforeAnyTransfer_Src31) {
  begin({{"vms",
          {{{"name", "web"},
            {"disks",
             {{{"alias", "1-lun"}, {"storage_type", "lun"}},
              {{"image", "a.img"}, {"alias", "2-illegal"}, {"status", "illegal"}},
              {{"image", "b.img"}, {"alias", "3-locked"}, {"status", "locked"}}}}}}}});
  ASSERT_FALSE(HasFatalFailure());
  SourceVm vm = read("web");
  ASSERT_EQ(vm.disks.size(), 3u);
  const std::string_view expected[] = {code::kDiskUnsupported, code::kDiskUnsupported,
                                       code::kDiskLocked};
  for (std::size_t i = 0; i < 3; ++i) {
    const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[i], "owner", {});
    ASSERT_FALSE(opening.ok());
    EXPECT_EQ(opening.error().code(), expected[i]) << vm.disks[i].name;
  }
  vm.disks[0].id = "00000000-0000-0000-0000-00000000dead";
  const Result<DiskOpening> missing = provider->open_disk(vm, vm.disks[0], "owner", {});
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), code::kDiskMissing);
  EXPECT_TRUE(bed->state().at("transfers").empty());
}

TEST_F(OvirtTransfer, ARunningMachineIsNamedAsTheReason) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  bed->post("/vm", {{"id", "web"}, {"status", "up"}});
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  ASSERT_FALSE(opening.ok());
  EXPECT_EQ(opening.error().code(), code::kVmState) << to_string(opening.error());
}

TEST_F(OvirtTransfer, TheHostsOwnAuthorityIsTrustedForTheData_Src34) {
  begin(web_bed(), /*separate_host_authority=*/true);
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  const auto endpoint = wait_ready(vm, vm.disks[0], opening->handle);
  ASSERT_TRUE(endpoint.has_value());
  const auto get = [&](const std::string& ca) {
    const auto client = HttpClient::make({.trust = {.ca_pem = ca, .thumbprint = ""},
                                          .unix_socket = "",
                                          .user_agent = "test",
                                          .resolve = {},
                                          .receive_buffer = 1u << 20});
    HttpRequest request;
    request.method = "OPTIONS";
    request.url = endpoint->url;
    const Result<HttpResponse> response = (*client)->send(request, {});
    return response.ok() ? response->status : -1;
  };
  EXPECT_EQ(get(bed->ca_pem()), -1);
  EXPECT_EQ(get(endpoint->trust.ca_pem), 200);
  EXPECT_TRUE(wait_released(opening->handle, vm.disks[0].id));
}

TEST_F(OvirtTransfer, TheProxyIsTheFallback_Src33) {
  begin(web_bed({{"transfer_host", "host.invalid"}}));
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  const auto endpoint = wait_ready(vm, vm.disks[0], opening->handle);
  ASSERT_TRUE(endpoint.has_value());
  EXPECT_NE(endpoint->url.find("host.invalid"), std::string::npos);
  EXPECT_NE(endpoint->fallback_url.find("127.0.0.1"), std::string::npos);
  EXPECT_TRUE(wait_released(opening->handle, vm.disks[0].id));
}

}  // namespace
}  // namespace vmferry::testing
