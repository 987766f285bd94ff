#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>

#include "common/catalogue.h"
#include "common/fd.h"
#include "tests/agent/mount_bench.h"
#include "tests/coordinator/fleet/fleet_bench.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using test::FleetBench;

// nbdkit with one file on a port of its own, for as long as it lives.
class NbdOverTcp {
 public:
  explicit NbdOverTcp(const std::string& file) : port_(std::to_string(free_port())) {
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execlp("nbdkit", "nbdkit", "-f", "-r", "-i", "127.0.0.1", "-p", port_.c_str(), "file",
               file.c_str(), nullptr);
      ::_exit(127);
    }
  }
  ~NbdOverTcp() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  std::string url() const { return "nbd://127.0.0.1:" + port_ + "/"; }
  bool listens() const {
    const UniqueFd socket_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = at(static_cast<std::uint16_t>(std::stoi(port_)));
    return ::connect(socket_fd.get(), reinterpret_cast<const sockaddr*>(&address),
                     sizeof address) == 0;
  }

 private:
  static sockaddr_in at(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  static std::uint16_t free_port() {
    const UniqueFd socket_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = at(0);
    socklen_t length = sizeof address;
    ::bind(socket_fd.get(), reinterpret_cast<const sockaddr*>(&address), length);
    ::getsockname(socket_fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
    return ntohs(address.sin_port);
  }

  std::string port_;
  pid_t pid_ = -1;
};

constexpr const char* kPod = "8f1c2b0a-0000-4000-8000-000000000001";

// Real agents that find their targets as they do on a node of a cluster.
class FleetOnANodeTest : public MountBench {
 protected:
  void SetUp() override {
    MountBench::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!FleetBench::has_agent_program()) GTEST_SKIP() << "needs the program vmferry-agent";
    bench_.emplace();
    bench_->options.heartbeat_every = 100ms;
    bench_->options.lease = 1000ms;
    bench_->options.settle = 300ms;
    bench_->options.attempts_per_job = 2;
    bench_->allow_agent("one");
    bench_->start_fleet();
    disk_ = bench_->make_disk("boot", kSize);
    server_.emplace(disk_);
    ASSERT_TRUE(bench_->eventually(20s, [this] { return server_->listens(); }));
  }
  void TearDown() override {
    server_.reset();
    bench_.reset();
    MountBench::TearDown();
  }
  void start_node_agent() {
    bench_->start_agent("one", {"--kubelet-volumes", "--kubelet-root", kubelet()});
  }
  TransferRequest request() {
    TransferRequest request = bench_->request("boot", kSize);
    request.source.kind = SourceKind::Nbd;
    request.source.url = server_->url();
    request.target = {};
    request.target.name = "n/web-boot";
    request.target.claim_uid = "claim";
    request.target.pod_uid = kPod;
    request.target.volume = "pv-1";
    request.nodes = {"node-one"};
    return request;
  }
  std::string volume() const {
    return kubelet() + "/pods/" + kPod + "/volumes/kubernetes.io~csi/pv-1/mount";
  }
  static void expect_owned_by_qemu(const std::string& file) {
    struct stat state {};
    ASSERT_EQ(::stat(file.c_str(), &state), 0);
    EXPECT_EQ(state.st_uid, 107u);
    EXPECT_EQ(state.st_gid, 107u);
  }

  static constexpr std::uint64_t kSize = 6 * kMiB;
  std::optional<FleetBench> bench_;
  std::string disk_;
  std::optional<NbdOverTcp> server_;
};

TEST_F(FleetOnANodeTest, AnAgentWritesTheVolumeOfAHolderPod) {
  mount_tmpfs(volume(), "size=64m");
  start_node_agent();
  const TransferRequest wanted = request();
  bench_->fleet().submit(wanted);
  ASSERT_TRUE(bench_->wait_for(wanted.job, TransferState::Succeeded, 20s));
  EXPECT_TRUE(bench_->same_content(disk_, volume() + "/disk.img"));
  expect_owned_by_qemu(volume() + "/disk.img");
  EXPECT_EQ(::umount2(volume().c_str(), 0), 0) << "everything is closed";
}

TEST_F(FleetOnANodeTest, WithoutMountPropagationTheNodesDiskStaysAsItWas) {
  make(volume());
  start_node_agent();
  const TransferRequest wanted = request();
  bench_->fleet().submit(wanted);
  ASSERT_TRUE(bench_->wait_for(wanted.job, TransferState::Failed, 20s));
  EXPECT_EQ(bench_->view(wanted.job).error->code(), code::kTargetNotMounted);
  EXPECT_TRUE(std::filesystem::is_empty(volume()));
}

TEST_F(FleetOnANodeTest, AnAgentOfANodeTakesNoPaths) {
  start_node_agent();
  TransferRequest wanted = bench_->request("boot", kSize);
  bench_->fleet().submit(wanted);
  ASSERT_TRUE(bench_->wait_for(wanted.job, TransferState::Failed, 20s));
  EXPECT_EQ(bench_->view(wanted.job).error->code(), code::kTargetUnsafe);
  EXPECT_FALSE(std::filesystem::exists(wanted.target.path));
}

TEST_F(FleetOnANodeTest, NeitherFilesNorSocketsOfTheNodeAreSources) {
  mount_tmpfs(volume(), "size=64m");
  start_node_agent();
  int number = 0;
  for (const auto& [kind, url] :
       {std::pair{SourceKind::File, disk_},
        std::pair{SourceKind::Nbd, std::string("nbd+unix:///?socket=/run/others.sock")},
        std::pair{SourceKind::Nbd, std::string("nbds://127.0.0.1/?tls-psk-file=/etc/shadow")}}) {
    TransferRequest wanted = request();
    wanted.job = JobId{"uid/" + std::to_string(++number)};
    wanted.source.kind = kind;
    wanted.source.url = url;
    bench_->fleet().submit(wanted);
    ASSERT_TRUE(bench_->wait_for(wanted.job, TransferState::Failed, 20s)) << url;
    EXPECT_EQ(bench_->view(wanted.job).error->kind(), ErrorKind::InvalidArgument) << url;
  }
  EXPECT_TRUE(std::filesystem::is_empty(volume()));
}

TEST_F(FleetOnANodeTest, AMoverCopiesIntoItsOwnPodAndNothingElse) {
  mount_tmpfs(at("target/web-boot"), "size=64m");
  bench_->start_agent("one", {"move", "--pod-uid", kPod, "--mover-root", at("target")});
  TransferRequest other = request();
  other.job = JobId{"uid/other"};
  bench_->fleet().submit(other);
  TransferRequest wanted = request();
  wanted.target.pod_uid.clear();
  wanted.target.volume.clear();
  wanted.target.mover = true;
  wanted.target.path = at("target/web-boot");
  wanted.nodes = {protocol::mover_node(kPod)};
  bench_->fleet().submit(wanted);
  ASSERT_TRUE(bench_->wait_for(wanted.job, TransferState::Succeeded, 20s));
  EXPECT_TRUE(bench_->same_content(disk_, at("target/web-boot/disk.img")));
  expect_owned_by_qemu(at("target/web-boot/disk.img"));
  EXPECT_EQ(bench_->view(other.job).state, TransferState::Queued) << "it waits for its node";
}

}  // namespace
}  // namespace vmferry
