#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "common/http_client.h"
#include "coordinator/provider/provider.h"
#include "tests/support/ovirt_engine_fixture.h"

namespace vmferry::testing {

// An engine and a provider that talks to it.
class OvirtComponent : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = OvirtBed::missing(); !why.empty()) GTEST_SKIP() << why;
  }
  void TearDown() override { provider.reset(); }

  // A machine "web" with two disks and a NIC.
  static nlohmann::json web_bed(nlohmann::json engine = nlohmann::json::object()) {
    return {{"engine", std::move(engine)},
            {"vms",
             {{{"name", "web"},
               {"disks",
                {{{"image", "a.img"}, {"alias", "boot"}}, {{"image", "b.img"}, {"alias", "data"}}}},
               {"nics", {nlohmann::json::object()}}}}}};
  }

  void begin(nlohmann::json inventory, bool separate_host_authority = false) {
    OvirtBed::Options options;
    options.inventory = std::move(inventory);
    options.images = {{"a.img", 4u << 20}, {"b.img", (1u << 20) + 512}};
    options.separate_host_authority = separate_host_authority;
    bed = OvirtBed::start(std::move(options));
    ASSERT_NE(bed, nullptr);
    provider = connect(credentials());
  }

  ProviderCredentials credentials() const {
    ProviderCredentials result;
    result.kind = ProviderKind::Ovirt;
    result.api_url = bed->url();
    result.username = bed->user();
    result.password = SecretString(bed->password());
    result.ca_pem = bed->ca_pem();
    return result;
  }

  static std::unique_ptr<Provider> connect(const ProviderCredentials& credentials) {
    Result<std::unique_ptr<Provider>> made = make_ovirt_provider(credentials, Logger());
    EXPECT_TRUE(made.ok());
    return made.ok() ? *std::move(made) : nullptr;
  }

  static VmRef named(const std::string& name, const std::string& cluster = "") {
    VmRef ref;
    ref.name = name;
    ref.cluster_name = cluster;
    return ref;
  }

  SourceVm read(const std::string& name) {
    Result<SourceVm> vm = provider->find_vm(named(name), {});
    EXPECT_TRUE(vm.ok()) << to_string(vm.error());
    return vm.ok() ? *vm : SourceVm();
  }

  // Polls until `done`, at most ten seconds.
  static bool eventually(const std::function<bool()>& done) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < until) {
      if (done()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }

  std::optional<DiskEndpoint> wait_ready(const SourceVm& vm, const SourceDisk& disk,
                                         const std::string& handle) {
    std::optional<DiskEndpoint> endpoint;
    eventually([&] {
      Result<DiskOpening> opening = provider->poll_disk(vm, disk, handle, {});
      if (!opening.ok()) {
        ADD_FAILURE() << to_string(opening.error());
        return true;
      }
      endpoint = opening->endpoint;
      return endpoint.has_value();
    });
    return endpoint;
  }

  bool wait_released(const std::string& handle, const std::string& disk_id) {
    return eventually([&] {
      const Result<bool> gone = provider->release_disk(handle, disk_id, "owner", true, {});
      if (!gone.ok()) ADD_FAILURE() << to_string(gone.error());
      return gone.ok() && *gone;
    });
  }

  nlohmann::json transfer(const std::string& id) const {
    const nlohmann::json state = bed->state();
    for (const nlohmann::json& each : state.at("transfers")) {
      if (each.at("id") == id) return each;
    }
    return {};
  }

  std::unique_ptr<OvirtBed> bed;
  std::unique_ptr<Provider> provider;
};

}  // namespace vmferry::testing
