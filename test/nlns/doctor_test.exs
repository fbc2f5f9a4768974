defmodule Nlns.DoctorTest do
  use Nlns.NetnsCase

  import ExUnit.CaptureIO

  alias Nlns.Doctor

  test "here, where the tests run, nothing is missing, and nothing is left open" do
    output = capture_io(fn -> assert Doctor.report() == :ok end)
    assert output =~ "ok        open in another namespace  works"
    assert output =~ "nlns can be used here."
    refute output =~ "missing"
  end

  test "the task says the same" do
    assert capture_io(fn -> Mix.Task.rerun("nlns.doctor") end) =~ "nlns can be used here."
    assert_raise Mix.Error, fn -> Mix.Task.rerun("nlns.doctor", ["x"]) end
  end

  test "with the application stopped it is started, and with a wrong setting said to be wrong" do
    # Back in place after the test.
    restart([])
    Application.stop(:nlns)
    assert capture_io(fn -> assert Doctor.report() == :ok end) =~ "ok        application"

    Application.stop(:nlns)
    Application.put_env(:nlns, :idle_timeout, -1)
    output = capture_io(fn -> assert Doctor.report() == :error end)

    assert output =~
             ~r/missing   application +does not start\n +:nlns: config :nlns, idle_timeout: expected/

    assert output =~ ~r/optional  open in another namespace +not tried/
  end

  test "as docker's --user and --cap-add leave it, it does not ask for what was given" do
    plain = ~w(setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all)

    said =
      Nlns.ChildVM.eval(plain, """
      {:ok, device} = StringIO.open("")
      {Nlns.Doctor.report(device), device |> StringIO.contents() |> elem(1)}
      """)

    {{:error, report}, _} = said |> String.split("\n") |> List.last() |> Code.eval_string()

    assert report =~
             ~r/missing   CAP_SYS_ADMIN +not effective\n.*without --user, which makes none/

    refute report =~ "docker: --cap-add"
    # What the opens answer is explained by the same look.
    assert report =~ ~r/open in the own namespace +fails\n.*CAP_SYS_ADMIN is not effective/
  end

  for {shown, command} <- [another: "true", nothing: "umount -l /proc"] do
    test "where /proc shows #{shown} nlns can be used all the same" do
      said =
        Nlns.ChildVM.eval(
          ~w(unshare --pid --mount --fork --kill-child sh -c) ++
            [unquote(command) <> ~s( && exec "$@"), "sh"],
          """
          {:ok, device} = StringIO.open("")
          {Nlns.Doctor.report(device), device |> StringIO.contents() |> elem(1)}
          """
        )

      {{:ok, report}, _} = said |> String.split("\n") |> List.last() |> Code.eval_string()
      assert report =~ "ok        open in another namespace  works"
    end
  end

  test "where no namespace can be made nlns can be used all the same, and the limit is named" do
    # That of a user namespace of its own.
    limit = ~s(echo 0 > /proc/sys/user/max_net_namespaces && exec "$@")

    said =
      Nlns.ChildVM.eval(["unshare", "-Urnm", "sh", "-c", limit, "sh"], """
      {:ok, device} = StringIO.open("")
      {Nlns.Doctor.report(device), device |> StringIO.contents() |> elem(1)}
      """)

    {{:ok, report}, _} = Code.eval_string(said)
    assert report =~ ~r/optional  open in another namespace +not tried/
    assert report =~ "user.max_net_namespaces"
  end
end
