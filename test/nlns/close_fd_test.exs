defmodule Nlns.CloseFdTest do
  use Nlns.NetnsCase

  setup do
    %{path: netns(), name: Path.join(tmp_dir(), "file")}
  end

  test "close_fd closes what open_in_netns, open_fd and to_fd gave", %{path: path} do
    {:ok, opened} = Nlns.open_in_netns(path, 0)
    {:ok, numbered} = Nlns.open_fd(path, :inet, :dgram, :udp)
    {:ok, taken} = path |> Nlns.open_in_netns_async(0) |> handle() |> Handle.to_fd()

    for fd <- [opened, numbered, taken] do
      assert "socket:" <> _ = Proc.descriptor(fd)
      assert Nlns.close_fd(fd) == :ok
      assert Proc.descriptor(fd) == nil
      assert Nlns.close_fd(fd) == :ok
    end
  end

  test "a file that has the number meanwhile stays open", %{path: path, name: file} do
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    Nlns.close_fd(fd)
    io = open_at(fd, file)
    for _ <- 1..3, do: assert(Nlns.close_fd(fd) == :ok)
    assert_open(io, fd, file)
  end

  test "a socket of nlns that has the number meanwhile can be closed by its owner, once",
       %{path: path} do
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    {:ok, other} = Nlns.open_in_netns(path, 0)
    first = Proc.descriptor(fd)
    Nlns.close_fd(fd)
    again = reopen(path, fd)
    assert Proc.descriptor(fd) == again
    assert again != first
    Nlns.close_fd(fd)
    assert Proc.descriptor(fd) == nil
    # The neighbours have not noticed.
    assert "lo" in Rtnetlink.links(other)
    Nlns.close_fd(other)
  end

  test "a handle's descriptor is not closed by its number before the handle gave it away",
       %{path: path} do
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    Nlns.close_fd(fd)
    # Held by handles, one of which has the number again.
    handles = for _ <- 1..20, do: handle(Nlns.open_in_netns_async(path, 0))
    sockets = Proc.sockets()
    for number <- Map.keys(Proc.descriptors()), do: Nlns.close_fd(number)
    assert Proc.sockets() == sockets
    for handle <- handles, do: assert({:ok, _} = close_taken(handle))
  end

  test "a number that names a file meanwhile is left alone",
       %{path: path, name: file} do
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    # Closed behind nlns's back, by the only means that stock OTP has.
    {:ok, ref} = :prim_file.file_desc_to_ref(fd, [:read])
    :ok = :prim_file.close(ref)
    assert Proc.descriptor(fd) == nil
    io = open_at(fd, file)
    Nlns.close_fd(fd)
    assert_open(io, fd, file)
  end

  test "numbers that nlns never made are not closed", %{name: file} do
    io = open!(file)
    {:ok, socket} = :socket.open(:inet, :dgram)
    {:ok, netlink} = :socket.open(16, :raw, 0)
    before = Proc.descriptors()

    for {fd, _} <- before, do: assert(Nlns.close_fd(fd) == :ok)
    for fd <- [1_048_575, 1_048_576, 2_147_483_647], do: assert(Nlns.close_fd(fd) == :ok)

    # But for the directory that is being listed.
    assert gone(before, Proc.descriptors()) == []
    assert_open(io, Proc.descriptor_of(file), file)
    assert "lo" in Rtnetlink.links(netlink)
    Enum.each([socket, netlink], &:socket.close/1)
  end

  test "64 processes closing one number close one socket, and nothing of those who open meanwhile",
       %{path: path, name: file} do
    reused =
      for round <- 1..20 do
        {:ok, fd} = Nlns.open_in_netns(path, 0)
        closers = for _ <- 1..64, do: Task.async(fn -> receive(do: (:go -> close_often(fd))) end)
        for closer <- closers, do: send(closer.pid, :go)

        # One of them takes the number as soon as it is free.
        names = for n <- 1..10, do: "#{file}-#{round}-#{n}"
        files = for name <- names, do: {name, open!(name)}
        Task.await_many(closers, within())
        reused? = Proc.descriptor(fd) in names
        for {name, io} <- files, do: assert_open(io, Proc.descriptor_of(name), name)
        reused?
      end

    assert true in reused
  end

  test "processes that open and close at the same time never meet each other's sockets",
       %{path: path} do
    tasks =
      for _ <- 1..8 do
        Task.async(fn ->
          for _ <- 1..100 do
            {:ok, fd} = Nlns.open_in_netns(path, 0)
            mine = Proc.descriptor(fd)
            :erlang.yield()
            assert "socket:" <> _ = mine
            assert Proc.descriptor(fd) == mine
            Nlns.close_fd(fd)
          end
        end)
      end

    Task.await_many(tasks, :infinity)
  end

  # Opens the file until it has this number; what else was opened is closed.
  defp open_at(fd, file, others \\ []) do
    io = open!(file)

    cond do
      Proc.descriptor(fd) == file ->
        Enum.each(others, &:file.close/1)
        io

      length(others) < 100 ->
        open_at(fd, file, [io | others])
    end
  end

  defp open!(name) do
    {:ok, io} = :file.open(name, [:write, :raw])
    io
  end

  defp close_often(fd), do: for(_ <- 1..20, do: :ok = Nlns.close_fd(fd))

  # Opens sockets until one has this number; what that one is.
  defp reopen(path, fd, others \\ []) do
    {:ok, got} = Nlns.open_in_netns(path, 0)

    cond do
      got == fd ->
        Enum.each(others, &Nlns.close_fd/1)
        Proc.descriptor(fd)

      length(others) < 100 ->
        reopen(path, fd, [got | others])
    end
  end

  defp assert_open(io, fd, file) do
    assert Proc.descriptor(fd) == file
    assert :ok = :file.write(io, "still open")
    assert File.read!(file) == "still open"
    assert :file.close(io) == :ok
  end

  defp close_taken(handle) do
    with {:ok, fd} <- Handle.to_fd(handle) do
      Nlns.close_fd(fd)
      {:ok, Proc.descriptor(fd)}
    end
  end

  defp gone(before, now) do
    for {fd, "" <> to} <- before, not String.ends_with?(to, "/fd"), now[fd] != to, do: {fd, to}
  end
end
