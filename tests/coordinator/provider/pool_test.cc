#include "coordinator/provider/pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <thread>
#include <utility>

namespace vmferry {
namespace {

using namespace std::chrono_literals;

// Sessions at the source, by password.
using Sessions = Guarded<std::map<std::string, int>>;

class SessionOnly final : public Provider {
 public:
  SessionOnly(Sessions& sessions, std::string password)
      : sessions_(sessions), password_(std::move(password)) {
    ++(*sessions_.lock())[password_];
  }
  ~SessionOnly() override { log_out(); }
  ProviderKind kind() const override { return ProviderKind::Vmware; }
  Result<void> check_connection(std::stop_token) override { return {}; }
  Result<SourceVm> find_vm(const VmRef&, std::stop_token) override { return nothing(); }
  Result<PowerState> power_state(const std::string&, std::stop_token) override { return nothing(); }
  Result<void> request_stop(const std::string&, bool, std::stop_token) override {
    return nothing();
  }
  Result<void> start(const std::string&, std::stop_token) override { return nothing(); }
  Result<DiskOpening> open_disk(const SourceVm&, const SourceDisk&, const std::string&,
                                std::stop_token) override {
    return nothing();
  }
  Result<DiskOpening> poll_disk(const SourceVm&, const SourceDisk&, const std::string&,
                                std::stop_token) override {
    return nothing();
  }
  Result<DiskOpening> renew(const SourceVm&, const SourceDisk&, const std::string&,
                            std::stop_token) override {
    return nothing();
  }
  Result<bool> release_disk(const std::string&, const std::string&, const std::string&, bool,
                            std::stop_token) override {
    return nothing();
  }
  void close() override { log_out(); }
  void log_out() override {
    if (!std::exchange(out_, true)) --(*sessions_.lock())[password_];
  }

 private:
  static Error nothing() { return make_error(ErrorKind::Unimplemented, "not of this test"); }
  Sessions& sessions_;
  const std::string password_;
  bool out_ = false;
};

class ProviderPoolTest : public ::testing::Test {
 protected:
  std::unique_ptr<ProviderPool> pool(ProviderPool::Options options) {
    options.look_every = 10ms;
    return std::make_unique<ProviderPool>(
        [this](const ProviderCredentials& credentials, const Logger&) {
          return Result<std::unique_ptr<Provider>>(
              std::make_unique<SessionOnly>(sessions_, std::string(credentials.password.reveal())));
        },
        log_, options);
  }
  static ProviderCredentials account(const char* password, const char* user = "root") {
    ProviderCredentials made;
    made.api_url = "https://vc/sdk";
    made.username = user;
    made.password = SecretString(password);
    return made;
  }
  int sessions(const std::string& password) { return (*sessions_.lock())[password]; }
  static bool soon(const std::function<bool()>& there) {
    const auto until = std::chrono::steady_clock::now() + 30s;
    while (!there() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(5ms);
    return there();
  }

  Logger log_;
  Sessions sessions_;
};

TEST_F(ProviderPoolTest, OneThatNobodyUsesIsLoggedOutAndMadeAnew) {
  const auto some = pool({.idle_limit = 50ms});
  ASSERT_TRUE(some->get(account("a")));
  EXPECT_TRUE(soon([&] { return sessions("a") == 0; }));
  EXPECT_EQ(some->size(), 0u);
  ASSERT_TRUE(some->get(account("a")));
  EXPECT_EQ(sessions("a"), 1);
}

TEST_F(ProviderPoolTest, OneThatIsHeldOrAskedForStays) {
  const auto some = pool({.idle_limit = 300ms});
  auto held = some->get(account("held"));
  ASSERT_TRUE(held);
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(some->get(account("asked", "other")));
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_EQ(sessions("held"), 1);
  EXPECT_EQ(sessions("asked"), 1);
  held = make_error(ErrorKind::Internal, "let go of");
  EXPECT_TRUE(soon([&] { return sessions("held") == 0; }));
}

TEST_F(ProviderPoolTest, OneWhoseSecretWasReplacedGoesOnceNobodyUsesIt) {
  const auto some = pool({.idle_limit = 1h, .replaced_limit = 50ms});
  auto old = some->get(account("old"));
  ASSERT_TRUE(old);
  ASSERT_TRUE(some->get(account("new")));
  ASSERT_TRUE(some->get(account("else", "another user")));
  std::this_thread::sleep_for(200ms);
  EXPECT_EQ(sessions("old"), 1) << "a transfer of it goes on";
  old = make_error(ErrorKind::Internal, "let go of");
  EXPECT_TRUE(soon([&] { return sessions("old") == 0; }));
  EXPECT_EQ(sessions("new"), 1);
  EXPECT_EQ(sessions("else"), 1);
}

}  // namespace
}  // namespace vmferry
