#include <algorithm>
#include <atomic>

#include "common/catalogue.h"
#include "coordinator/provider/ovirt/client.h"
#include "tests/coordinator/provider/ovirt/ovirt_fixture.h"

namespace vmferry::testing {
namespace {

class OvirtProviderComponent : public OvirtComponent {
 protected:
  static nlohmann::json clusters_bed() {
    return {{"clusters", {"East", "West"}},
            {"vms",
             {{{"name", "twin"}, {"cluster", "East"}},
              {{"name", "twin"}, {"cluster", "West"}},
              {{"name", "my vm"}, {"cluster", "West"}},
              {{"name", "star*"}},
              {{"name", "starfish"}},
              {{"name", "Case"}}}}};
  }
  // What the API says to `credentials` at once.
  static Error refused(const ProviderCredentials& credentials) {
    const std::unique_ptr<Provider> other = connect(credentials);
    const Result<void> result = other->check_connection({});
    EXPECT_FALSE(result.ok());
    return result.ok() ? make_error(ErrorKind::Internal, "it worked") : result.error();
  }
};

TEST_F(OvirtProviderComponent, ReadsTheSameWithAndWithoutFollow) {
  nlohmann::json bed_file = web_bed();
  bed_file["vms"][0]["tags"] = {"a", "b"};
  bed_file["vms"][0]["instance_type"] = "Small";
  bed_file["vms"][0]["watchdogs"] = {{{"model", "i6300esb"}, {"action", "reset"}}};
  std::optional<SourceVm> first;
  for (const char* mode : {"strict", "off"}) {
    bed_file["engine"] = {{"follow", mode}};
    begin(bed_file);
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_TRUE(provider->check_connection({}).ok());
    const SourceVm vm = read("web");
    EXPECT_EQ(vm.nics.size(), 1u);
    EXPECT_FALSE(vm.nics.at(0).network_names.at(0).starts_with("/")) << "the network has a name";
    EXPECT_EQ(vm.disks.at(0).storage_name, "data");
    EXPECT_EQ(vm.tags, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(vm.instance_type, "Small");
    EXPECT_EQ(vm.firmware, Firmware::Efi) << "by the cluster's default";
    EXPECT_EQ(vm.watchdog_action, "reset");
    EXPECT_TRUE(std::ranges::none_of(
        vm.findings, [](const Finding& f) { return f.level == FindingLevel::Block; }));
    if (first) {
      EXPECT_EQ(vm, *first);
    }
    first = vm;
  }
  // An engine that refuses the names in follow is walked as well.
  bed->post("/fault", {{"path_regex", "follow="}, {"status", 400}});
  EXPECT_EQ(read("web"), *first);
}

TEST_F(OvirtProviderComponent, FindsByIdNameAndCluster_Src35And36) {
  begin(clusters_bed());
  ASSERT_FALSE(HasFatalFailure());
  const Result<SourceVm> twin = provider->find_vm(named("twin"), {});
  ASSERT_FALSE(twin.ok());
  EXPECT_EQ(twin.error().code(), code::kVmAmbiguous);
  EXPECT_EQ(twin.error().kind(), ErrorKind::InvalidArgument);
  EXPECT_NE(twin.error().message().find("East"), std::string::npos) << to_string(twin.error());
  EXPECT_NE(twin.error().message().find("West"), std::string::npos);

  const Result<SourceVm> west = provider->find_vm(named("twin", "West"), {});
  ASSERT_TRUE(west.ok()) << to_string(west.error());
  EXPECT_EQ(west->inventory_path, "West/twin");
  VmRef by_id;
  by_id.id = west->id;
  const Result<SourceVm> same = provider->find_vm(by_id, {});
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(*same, *west);

  EXPECT_EQ(read("my vm").name, "my vm");
  EXPECT_EQ(read("star*").name, "star*") << "not starfish as well";
  for (const VmRef& ref : {named("nobody"), named("case"), named("my vm", "East"),
                           named("twin", "North"), named("we\"b")}) {
    const Result<SourceVm> none = provider->find_vm(ref, {});
    ASSERT_FALSE(none.ok()) << ref.name;
    EXPECT_EQ(none.error().code(), code::kVmNotFound) << to_string(none.error());
    EXPECT_EQ(none.error().kind(), ErrorKind::NotFound);
  }
  by_id.id = "../clusters";
  EXPECT_EQ(provider->find_vm(by_id, {}).error().code(), code::kVmNotFound);
  VmRef by_cluster_id = named("my vm");
  by_cluster_id.cluster_id = "another";
  EXPECT_FALSE(provider->find_vm(by_cluster_id, {}).ok()) << "one hit, but elsewhere";
}

TEST_F(OvirtProviderComponent, AWrongPasswordIsSentOnce_Src4) {
  for (const int status : {400, 401}) {
    begin(web_bed({{"bad_credentials_status", status}}));
    ASSERT_FALSE(HasFatalFailure());
    ProviderCredentials wrong = credentials();
    wrong.password = SecretString("guess");
    const std::unique_ptr<Provider> other = connect(wrong);
    for (int i = 0; i < 3; ++i) {
      const Result<SourceVm> vm = other->find_vm(named("web"), {});
      ASSERT_FALSE(vm.ok());
      EXPECT_EQ(vm.error().kind(), ErrorKind::PermissionDenied);
      EXPECT_EQ(vm.error().code(), code::kSourceAuth);
      EXPECT_EQ(vm.error().message().find("guess"), std::string::npos);
    }
    EXPECT_EQ(bed->state().at("sessions").at("rejected"), 1);
  }
}

TEST_F(OvirtProviderComponent, ARefusedPasswordIsTriedAgainAfterAWhile) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  auto options = ovirt::client_options(credentials());
  ASSERT_TRUE(options.ok());
  options->refused_for = std::chrono::milliseconds(300);
  ovirt::Client client(*std::move(options), Logger());
  // A directory server behind the engine that is away for a moment looks like a wrong password.
  bed->post("/fault", {{"path_regex", "/sso/oauth/token"},
                       {"status", 400},
                       {"body", R"({"error":"access_denied"})"},
                       {"content_type", "application/json"}});
  const Result<ovirt::Document> first = client.fetch("/vms", {});
  ASSERT_FALSE(first.ok());
  EXPECT_EQ(first.error().code(), code::kSourceAuth);
  EXPECT_FALSE(client.fetch("/vms", {}).ok());
  EXPECT_EQ(bed->requests("POST", "/sso/oauth/token"), 1) << "not sent again at once";
  EXPECT_TRUE(eventually([&] { return client.fetch("/vms", {}).ok(); }));
  EXPECT_EQ(bed->requests("POST", "/sso/oauth/token"), 2);
}

TEST_F(OvirtProviderComponent, LogsInAgainOnceWhenTheSessionIsGone_Src5) {
  begin(web_bed({{"token_in_array", true}}));
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_TRUE(provider->check_connection({}).ok());
  bed->post("/expire-tokens", nlohmann::json::object());
  EXPECT_EQ(read("web").name, "web");
  EXPECT_EQ(bed->state().at("sessions").at("opened"), 2);
  provider->close();
  EXPECT_EQ(bed->state().at("sessions").at("alive"), 0) << "logged out";
  bed->post("/fault", {{"path_regex", "/vms"}, {"status", 401}, {"times", 2}});
  const Result<SourceVm> vm = provider->find_vm(named("web"), {});
  ASSERT_FALSE(vm.ok());
  EXPECT_EQ(vm.error().code(), code::kSourceAuth);
  EXPECT_EQ(read("web").name, "web") << "the password was not refused";
}

TEST_F(OvirtProviderComponent, FallsBackToBasicWithoutSignOn) {
  begin(web_bed({{"sso", false}}));
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(read("web").name, "web");
  EXPECT_EQ(bed->requests("POST", "/sso/oauth/token"), 1);
  provider->close();
  EXPECT_EQ(bed->state().at("sessions").at("cookies"), 0) << "logged out";
  ProviderCredentials wrong = credentials();
  wrong.password = SecretString("guess");
  const std::unique_ptr<Provider> other = connect(wrong);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(other->check_connection({}).error().code(), code::kSourceAuth);
  }
  EXPECT_EQ(bed->state().at("sessions").at("rejected"), 1);
}

TEST_F(OvirtProviderComponent, NamesWhatIsWrongWithTheConnection) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  ProviderCredentials other = credentials();
  other.ca_pem.clear();
  EXPECT_EQ(refused(other).code(), code::kSourceTls);

  other = credentials();
  other.api_url = bed->url().substr(0, bed->url().find("/ovirt-engine")) + "/somewhere/else";
  EXPECT_EQ(refused(other).code(), code::kSourceProtocol);

  bed->post(
      "/fault",
      {{"path_regex", "api$"}, {"body", "<html>welcome</html>"}, {"content_type", "text/html"}});
  EXPECT_EQ(refused(credentials()).code(), code::kSourceProtocol);
  bed->post("/fault", {{"path_regex", "api$"}, {"status", 302}, {"body", ""}});
  EXPECT_EQ(refused(credentials()).code(), code::kSourceProtocol);
  bed->post("/fault", {{"path_regex", "api$"}, {"body", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"}});
  EXPECT_EQ(refused(credentials()).code(), code::kSourceProtocol);

  other = credentials();
  bed->kill();
  EXPECT_EQ(refused(other).code(), code::kSourceUnreachable);
}

TEST_F(OvirtProviderComponent, ReadsAreRepeatedWhileTheEngineRestarts) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  bed->post("/fault", {{"path_regex", "/vms"}, {"method", "GET"}, {"status", 503}, {"times", 2}});
  EXPECT_EQ(read("web").name, "web");
  bed->post("/fault", {{"path_regex", "/vms"}, {"method", "GET"}, {"status", 503}, {"times", 9}});
  const Result<SourceVm> vm = provider->find_vm(named("web"), {});
  ASSERT_FALSE(vm.ok());
  EXPECT_EQ(vm.error().kind(), ErrorKind::Unavailable);
}

TEST_F(OvirtProviderComponent, StopsAndStarts) {
  nlohmann::json bed_file = web_bed();
  bed_file["vms"][0]["status"] = "up";
  bed_file["vms"][0]["shutdown_seconds"] = "never";
  begin(bed_file);
  ASSERT_FALSE(HasFatalFailure());
  const std::string id = read("web").native_id;
  EXPECT_EQ(*provider->power_state(id, {}), PowerState::Up);
  EXPECT_TRUE(provider->start(id, {}).ok()) << "it runs already";
  EXPECT_TRUE(provider->request_stop(id, false, {}).ok());
  EXPECT_EQ(*provider->power_state(id, {}), PowerState::Changing);
  EXPECT_TRUE(provider->request_stop(id, false, {}).ok()) << "it is on its way";
  EXPECT_TRUE(provider->request_stop(id, true, {}).ok());
  EXPECT_EQ(*provider->power_state(id, {}), PowerState::Down);
  EXPECT_TRUE(provider->request_stop(id, false, {}).ok()) << "it is down already";
  EXPECT_TRUE(provider->request_stop(id, true, {}).ok());

  const SourceVm vm = read("web");
  const Result<DiskOpening> opening = provider->open_disk(vm, vm.disks[0], "owner", {});
  ASSERT_TRUE(opening.ok()) << to_string(opening.error());
  const Result<void> locked = provider->start(id, {});
  ASSERT_FALSE(locked.ok());
  EXPECT_EQ(locked.error().code(), code::kDiskLocked);
  EXPECT_EQ(locked.error().kind(), ErrorKind::Unavailable);
  EXPECT_TRUE(wait_released(opening->handle, vm.disks[0].id));
  EXPECT_TRUE(provider->start(id, {}).ok());
  EXPECT_TRUE(eventually([&] { return *provider->power_state(id, {}) == PowerState::Up; }));
  EXPECT_EQ(provider->power_state("nobody", {}).error().code(), code::kVmNotFound);
  EXPECT_EQ(provider->start("nobody", {}).error().code(), code::kVmNotFound);
}

TEST_F(OvirtProviderComponent, Ov130NoConnectionIsAnErrorOfEveryCall) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  const std::string id = read("web").native_id;
  bed->kill();
  const auto expect_unreachable = [](const auto& result) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind(), ErrorKind::Unavailable);
    EXPECT_EQ(result.error().code(), code::kSourceUnreachable) << to_string(result.error());
  };
  expect_unreachable(provider->find_vm(named("web"), {}));
  expect_unreachable(provider->power_state(id, {}));
  expect_unreachable(provider->start(id, {}));
  expect_unreachable(provider->request_stop(id, false, {}));
  expect_unreachable(provider->list(ListingKind::Vms, {}));
}

TEST_F(OvirtProviderComponent, Ov131AShutdownThatTakesItsTimeEndsDown) {
  nlohmann::json bed_file = web_bed();
  bed_file["vms"][0]["status"] = "up";
  bed_file["vms"][0]["shutdown_seconds"] = 1;
  begin(bed_file);
  ASSERT_FALSE(HasFatalFailure());
  const std::string id = read("web").native_id;
  ASSERT_TRUE(provider->request_stop(id, false, {}).ok());
  int polls = 0;
  EXPECT_TRUE(eventually([&] {
    ++polls;
    return *provider->power_state(id, {}) == PowerState::Down;
  }));
  EXPECT_GT(polls, 3);
}

TEST_F(OvirtProviderComponent, ALockedMachineIsAskedToStopLater) {
  nlohmann::json bed_file = web_bed();
  bed_file["vms"][0]["status"] = "image_locked";
  begin(bed_file);
  ASSERT_FALSE(HasFatalFailure());
  const Result<void> refused = provider->request_stop(read("web").native_id, false, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::Unavailable);
  EXPECT_EQ(refused.error().code(), code::kDiskLocked);
}

TEST_F(OvirtProviderComponent, FindsWhoElseUsesAShareableDisk) {
  const nlohmann::json shared = {
      {"alias", "cluster"}, {"provisioned_size", 4096}, {"shareable", true}};
  begin({{"disks", {shared}},
         {"vms",
          {{{"name", "alone"},
            {"disks", {{{"alias", "own"}, {"provisioned_size", 4096}, {"shareable", true}}}}},
           {{"name", "one"}, {"attach", {"cluster"}}},
           {{"name", "two"}, {"attach", {"cluster"}}}}}});
  ASSERT_FALSE(HasFatalFailure());
  const auto levels = [&](const std::string& name) {
    std::vector<FindingLevel> result;
    for (const Finding& finding : read(name).findings) {
      if (finding.rule == "disk_attachment.disk.shareable") result.push_back(finding.level);
    }
    return result;
  };
  EXPECT_EQ(levels("one"), std::vector{FindingLevel::Block});
  EXPECT_TRUE(levels("alone").empty()) << "nobody else uses it";
}

TEST_F(OvirtProviderComponent, ReadsTheImageInACdDrive) {
  nlohmann::json bed_file = web_bed();
  bed_file["disks"] = {{{"alias", "install.iso"},
                        {"image", "b.img"},
                        {"content_type", "iso"},
                        {"id", "c0ffee00-0000-4000-8000-000000000001"}}};
  bed_file["vms"][0]["cdrom"] = "c0ffee00-0000-4000-8000-000000000001";
  bed_file["vms"].push_back(
      {{"name", "old"}, {"cdrom", "install.iso"}, {"disks", {{{"image", "a.img"}}}}});
  begin(bed_file);
  ASSERT_FALSE(HasFatalFailure());
  const SourceVm vm = read("web");
  ASSERT_EQ(vm.disks.size(), 3u);
  const SourceDisk& cd = vm.disks[2];
  EXPECT_TRUE(cd.cdrom);
  EXPECT_EQ(cd.name, "install.iso");
  EXPECT_EQ(cd.storage_name, "data");
  const Result<DiskOpening> opening = provider->open_disk(vm, cd, "owner", {});
  ASSERT_TRUE(opening.ok()) << to_string(opening.error());
  EXPECT_TRUE(wait_ready(vm, cd, opening->handle).has_value());
  EXPECT_TRUE(wait_released(opening->handle, cd.id));
  EXPECT_EQ(read("old").disks.size(), 1u) << "a file on a domain for images";
}

TEST_F(OvirtProviderComponent, ServesManyThreadsWithOneSession) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        if (provider->find_vm(named("web"), {}).ok()) ++good;
      });
    }
  }
  EXPECT_EQ(good, 8);
  EXPECT_EQ(bed->state().at("sessions").at("opened"), 1);
}

TEST_F(OvirtProviderComponent, AStoppedCallComesBackAtOnce) {
  begin(web_bed());
  ASSERT_FALSE(HasFatalFailure());
  bed->post("/fault", {{"path_regex", "/vms"}, {"delay_seconds", 20}});
  std::stop_source stop;
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    stop.request_stop();
  });
  const auto begun = std::chrono::steady_clock::now();
  const Result<SourceVm> vm = provider->find_vm(named("web"), stop.get_token());
  ASSERT_FALSE(vm.ok());
  EXPECT_EQ(vm.error().kind(), ErrorKind::Canceled);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
}

}  // namespace
}  // namespace vmferry::testing
