#include "coordinator/provider/watched_provider.h"

#include <gtest/gtest.h>

namespace vmferry {
namespace {

// Tells which of its calls came.
class CalledProvider final : public Provider {
 public:
  explicit CalledProvider(std::vector<std::string>& calls) : calls_(calls) {}
  ProviderKind kind() const override { return ProviderKind::Vmware; }
  Result<void> check_connection(std::stop_token) override { return note("check"), Result<void>(); }
  Result<SourceVm> find_vm(const VmRef&, std::stop_token) override {
    return note("find"), SourceVm{};
  }
  Result<Listing> list(ListingKind, std::stop_token) override { return note("list"), Listing{}; }
  Result<PowerState> power_state(const std::string&, std::stop_token) override {
    return note("power"), PowerState::Down;
  }
  Result<void> request_stop(const std::string&, bool, std::stop_token) override {
    return note("stop"), Result<void>();
  }
  Result<void> start(const std::string&, std::stop_token) override {
    return note("start"), Result<void>();
  }
  Result<WayChoice> choose_way(const SourceVm&, const SourceDisk&, bool, std::stop_token) override {
    return note("choose"), WayChoice{DiskWay::FlatFile, "it is flat"};
  }
  Result<DiskOpening> open_disk(const SourceVm&, const SourceDisk&, const std::string&,
                                std::stop_token) override {
    return note("open"), DiskOpening{};
  }
  Result<DiskOpening> poll_disk(const SourceVm&, const SourceDisk&, const std::string&,
                                std::stop_token) override {
    return note("poll"), DiskOpening{};
  }
  Result<DiskOpening> renew(const SourceVm&, const SourceDisk&, const std::string&,
                            std::stop_token) override {
    return note("renew"), DiskOpening{};
  }
  void report_progress(const std::string&, int) override { note("progress"); }
  void keep_open(const std::string&, std::stop_token) override { note("keep"); }
  Result<std::vector<std::pair<std::string, std::string>>> disk_identity(const SourceVm&,
                                                                         const SourceDisk&,
                                                                         std::stop_token) override {
    return note("identity"), std::vector<std::pair<std::string, std::string>>{};
  }
  Result<bool> release_disk(const std::string&, const std::string&, const std::string&, bool,
                            std::stop_token) override {
    return note("release"), true;
  }
  void close() override { note("close"); }
  void log_out() override { note("log out"); }

 private:
  void note(const char* what) { calls_.emplace_back(what); }
  std::vector<std::string>& calls_;
};

// A call that is not passed on is answered by the base class, which knows nothing of the source.
TEST(WatchedProviderTest, EveryCallComesThrough) {
  std::vector<std::string> calls;
  const SystemClock clock;
  SourceTurns turns({}, clock);
  const auto provider =
      watched(std::make_unique<CalledProvider>(calls), "https://vc.example/sdk", turns);
  const SourceVm vm;
  const SourceDisk disk;
  EXPECT_TRUE(provider->check_connection({}));
  EXPECT_TRUE(provider->find_vm({}, {}));
  EXPECT_TRUE(provider->list(ListingKind::Vms, {}));
  EXPECT_TRUE(provider->power_state("vm-1", {}));
  EXPECT_TRUE(provider->request_stop("vm-1", false, {}));
  EXPECT_TRUE(provider->start("vm-1", {}));
  EXPECT_EQ(provider->choose_way(vm, disk, false, {})->way, DiskWay::FlatFile);
  EXPECT_TRUE(provider->open_disk(vm, disk, "owner", {}));
  EXPECT_TRUE(provider->poll_disk(vm, disk, "handle", {}));
  EXPECT_TRUE(provider->renew(vm, disk, "handle", {}));
  provider->report_progress("handle", 1);
  provider->keep_open("handle", {});
  EXPECT_TRUE(provider->disk_identity(vm, disk, {}));
  EXPECT_TRUE(provider->release_disk("handle", "disk", "owner", true, {}));
  provider->log_out();
  provider->close();
  EXPECT_EQ(calls, (std::vector<std::string>{"check", "find", "list", "power", "stop", "start",
                                             "choose", "open", "poll", "renew", "progress", "keep",
                                             "identity", "release", "log out", "close"}));
}

}  // namespace
}  // namespace vmferry
