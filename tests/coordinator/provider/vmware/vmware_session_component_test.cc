#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "common/catalogue.h"
#include "coordinator/provider/provider.h"
#include "coordinator/provider/vmware/client.h"
#include "tests/support/vcsim_fixture.h"

// How the session fares: idle times, slow servers, faults in the middle of things.
namespace vmferry::vmware {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using testing::VcsimBed;

class VmwareSessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = VcsimBed::missing(); !reason.empty()) GTEST_SKIP() << reason;
  }

  void start(std::vector<std::string> flags = {}) {
    VcsimBed::Options options;
    options.inventory = {
        {"vms", {{{"name", "web"}, {"power", "on"}, {"disks", {{{"size_bytes", 1 << 20}}}}}}}};
    options.flags = std::move(flags);
    bed_ = VcsimBed::start(std::move(options));
    ASSERT_NE(bed_, nullptr);
    credentials_.api_url = bed_->url();
    credentials_.username = bed_->user();
    credentials_.password = SecretString(bed_->password());
    credentials_.thumbprint = bed_->sha256();
  }

  std::unique_ptr<Provider> provider() const {
    auto made = make_vmware_provider(credentials_, Logger());
    EXPECT_TRUE(made.ok());
    return made.ok() ? *std::move(made) : nullptr;
  }

  std::unique_ptr<Client> client(milliseconds timeout, milliseconds keep_alive) const {
    ClientOptions options = *client_options(credentials_);
    options.call_timeout = timeout;
    options.keep_alive = keep_alive;
    return std::make_unique<Client>(std::move(options), Logger());
  }

  static Result<void> touch(Client& client, std::stop_token stop = {}) {
    return client.in_session(stop, [](Exchange& exchange) -> Result<void> {
      TRY(exchange.must_call(method_call("CurrentTime", {"ServiceInstance", "ServiceInstance"})));
      return {};
    });
  }

  static VmRef web() {
    VmRef ref;
    ref.name = "web";
    return ref;
  }
  int logins() const { return bed_->state().value("logins", 0); }

  std::unique_ptr<VcsimBed> bed_;
  ProviderCredentials credentials_;
};

TEST_F(VmwareSessionTest, AnIdleSessionIsKeptAlive) {
  start({"--session-idle", "1500ms"});
  const auto kept = client(milliseconds(5000), milliseconds(800));
  ASSERT_TRUE(touch(*kept).ok());
  std::this_thread::sleep_for(milliseconds(3500));
  EXPECT_TRUE(touch(*kept).ok());
  EXPECT_EQ(logins(), 1);
}

TEST_F(VmwareSessionTest, AForgottenSessionIsMadeAgainOnce) {
  start();
  const auto live = client(milliseconds(5000), std::chrono::minutes(5));
  ASSERT_TRUE(touch(*live).ok());
  bed_->post("/expire-sessions", json::object());
  EXPECT_TRUE(touch(*live).ok());
  EXPECT_EQ(logins(), 2);

  bed_->post("/fault", {{"method", "CurrentTime"}, {"fault", "NotAuthenticated"}});
  const Result<void> refused = touch(*live);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), code::kSourceAuth);
  EXPECT_EQ(logins(), 3);
}

TEST_F(VmwareSessionTest, ACallThatHangsEndsAtItsDeadline) {
  start();
  const auto hasty = client(milliseconds(300), std::chrono::minutes(5));
  ASSERT_TRUE(touch(*hasty).ok());
  bed_->post("/fault", {{"method", "CurrentTime"}, {"delay_ms", 20000}});
  const auto begin = std::chrono::steady_clock::now();
  const Result<void> late = touch(*hasty);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().kind(), ErrorKind::DeadlineExceeded) << late.error().message();
  EXPECT_EQ(late.error().code(), code::kSourceUnreachable);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(VmwareSessionTest, ACallEndsWhenItIsStopped) {
  start();
  const auto patient = client(milliseconds(30000), std::chrono::minutes(5));
  ASSERT_TRUE(touch(*patient).ok());
  bed_->post("/fault", {{"method", "CurrentTime"}, {"delay_ms", 20000}});
  std::stop_source stop;
  const std::jthread stopper([&stop] {
    std::this_thread::sleep_for(milliseconds(200));
    stop.request_stop();
  });
  const auto begin = std::chrono::steady_clock::now();
  const Result<void> stopped = touch(*patient, stop.get_token());
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().kind(), ErrorKind::Canceled) << stopped.error().message();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(VmwareSessionTest, Vsrc6PathsThatTheServerDoesNotKnowAreLeftOut) {
  start();
  const auto vmware = provider();
  // The first call lists the VMs, the second reads this one.
  bed_->post("/fault", {{"method", "RetrievePropertiesEx"},
                        {"fault", "InvalidProperty"},
                        {"detail", "<name>summary.config.tpmPresent</name>"},
                        {"skip", 1},
                        {"times", 1}});
  const auto vm = vmware->find_vm(web(), {});
  ASSERT_TRUE(vm.ok()) << vm.error().message();
  EXPECT_EQ(vm->disks.size(), 1u);
}

TEST_F(VmwareSessionTest, Vsrc16ATaskThatIsForgottenIsJudgedByItsEffect) {
  start();
  const auto vmware = provider();
  const std::string id = bed_->vm("web").at("moref");
  // Calls: the power state, the task, and then the power state once more.
  const json gone = {{"method", "RetrievePropertiesEx"},
                     {"fault", "ManagedObjectNotFound"},
                     {"skip", 1},
                     {"times", 1}};
  bed_->post("/fault", gone);
  const Result<void> stopped = vmware->request_stop(id, true, {});
  // The task may not have had its effect yet: then its loss is told, and the caller asks again.
  if (!stopped.ok()) {
    EXPECT_EQ(stopped.error().kind(), ErrorKind::Aborted) << to_string(stopped.error());
    EXPECT_EQ(stopped.error().code(), code::kVmState);
  }
  PowerState state = PowerState::Up;
  for (int i = 0; i < 400 && state != PowerState::Down; ++i) {
    const auto now = vmware->power_state(id, {});
    ASSERT_TRUE(now.ok()) << to_string(now.error());
    state = *now;
    std::this_thread::sleep_for(milliseconds(25));
  }
  EXPECT_EQ(state, PowerState::Down);
  EXPECT_EQ(bed_->state()["calls"].value("PowerOffVM_Task", 0), 1) << "it is asked for once";
  // A task that is gone without its effect is no success.
  bed_->post("/fault", {{"method", "PowerOnVM_Task"}, {"fault", "SystemError"}, {"times", 1}});
  EXPECT_FALSE(vmware->start(id, {}).ok());
}

TEST_F(VmwareSessionTest, Vsrc50ALoginThatNobodyWaitsForAnyMoreLeavesNoSession) {
  start();
  bed_->post("/fault", {{"method", "Login"}, {"late_ms", 1500}, {"times", 1}});
  {
    const auto vmware = provider();
    std::stop_source stop;
    const std::jthread stopper([&stop] {
      std::this_thread::sleep_for(milliseconds(500));
      stop.request_stop();
    });
    const auto begin = std::chrono::steady_clock::now();
    const Result<void> stopped = vmware->check_connection(stop.get_token());
    ASSERT_FALSE(stopped.ok());
    EXPECT_EQ(stopped.error().kind(), ErrorKind::Canceled) << to_string(stopped.error());
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));
  }
  const json state = bed_->state();
  EXPECT_EQ(state.value("logins", 0), 1);
  EXPECT_EQ(state.value("logouts", 0), 1);
  EXPECT_EQ(state.value("sessions", -1), 0);
}

TEST_F(VmwareSessionTest, ALoginThatHangsIsGivenUpSoonAfterTheStop) {
  start();
  bed_->post("/fault", {{"method", "Login"}, {"delay_ms", 30000}});
  const auto vmware = provider();
  std::stop_source stop;
  const std::jthread stopper([&stop] {
    std::this_thread::sleep_for(milliseconds(200));
    stop.request_stop();
  });
  const auto begin = std::chrono::steady_clock::now();
  const Result<void> stopped = vmware->check_connection(stop.get_token());
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().kind(), ErrorKind::Canceled) << to_string(stopped.error());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(VmwareSessionTest, ADatastoreThatRefusesTheCookieCostsNoSession) {
  start();
  {
    const auto vmware = provider();
    const auto vm = vmware->find_vm(web(), {});
    ASSERT_TRUE(vm.ok());
    bed_->post("/vm", {{"name", "web"}, {"power", "off"}});
    bed_->post("/fault", {{"folder", true}, {"status", 401}});
    const auto refused = vmware->open_disk(*vm, vm->disks.at(0), "owner", {});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), code::kSourceAuth) << to_string(refused.error());
    EXPECT_EQ(bed_->state().value("sessions", -1), 1);
  }
  EXPECT_EQ(bed_->state().value("sessions", -1), 0);
}

// An account that was locked for a while heals by itself.
TEST_F(VmwareSessionTest, ARefusedPasswordIsTriedAgainAfterAWhile) {
  start();
  EXPECT_EQ(client_options(credentials_)->refused_for, std::chrono::minutes(10));
  ClientOptions options = *client_options(credentials_);
  options.refused_for = milliseconds(1500);
  Client client(options, Logger());
  bed_->post("/fault", {{"method", "Login"}, {"fault", "InvalidLogin"}, {"times", 1}});
  for (int i = 0; i < 2; ++i) {
    const auto refused = client.session({});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), code::kSourceAuth);
  }
  EXPECT_EQ(bed_->state()["calls"].value("Login", 0), 1) << "not sent again so soon";
  std::this_thread::sleep_for(milliseconds(1600));
  EXPECT_TRUE(client.session({}).ok());
}

TEST_F(VmwareSessionTest, PasswordsThatExpiredAreNotSentAgain) {
  for (const char* fault : {"InvalidLogin", "PasswordExpired"}) {
    SCOPED_TRACE(fault);
    start();
    const auto vmware = provider();
    ASSERT_TRUE(vmware->check_connection({}).ok());
    bed_->post("/fault", {{"method", "Login"}, {"fault", fault}});
    bed_->post("/expire-sessions", json::object());
    for (int i = 0; i < 3; ++i) {
      const Result<void> refused = vmware->check_connection({});
      ASSERT_FALSE(refused.ok());
      EXPECT_EQ(refused.error().kind(), ErrorKind::PermissionDenied);
      EXPECT_EQ(refused.error().code(), code::kSourceAuth);
    }
    EXPECT_EQ(bed_->state()["calls"].value("Login", 0), 2);
  }
}

TEST_F(VmwareSessionTest, AVmThatIsDeletedIsNotFound) {
  start();
  const auto vmware = provider();
  const auto vm = vmware->find_vm(web(), {});
  ASSERT_TRUE(vm.ok());
  bed_->post("/vm", {{"name", "web"}, {"destroy", true}});
  const auto state = vmware->power_state(vm->native_id, {});
  ASSERT_FALSE(state.ok());
  EXPECT_EQ(state.error().kind(), ErrorKind::NotFound);
  EXPECT_EQ(state.error().code(), code::kVmNotFound);
  const auto opening = vmware->open_disk(*vm, vm->disks.at(0), "owner", {});
  ASSERT_FALSE(opening.ok());
  EXPECT_EQ(opening.error().code(), code::kVmNotFound);
}

TEST_F(VmwareSessionTest, Vsrc50NothingIsLeftLoggedInAtTheEnd) {
  start();
  {
    const auto vmware = provider();
    EXPECT_TRUE(vmware->find_vm(web(), {}).ok());
    EXPECT_EQ(bed_->state().value("sessions", -1), 1);
  }
  EXPECT_EQ(bed_->state().value("sessions", -1), 0);
}

}  // namespace
}  // namespace vmferry::vmware
