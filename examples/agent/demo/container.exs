# What runs inside a namespace of the demonstration: a TCP server, and a sender of UDP with a load that
# goes up and down. Knows nothing of nlns.
#
#     container.exs ADDRESS:PORT [PEER ...]

# That it is told to end is nothing to report.
:logger.set_primary_config(:level, :error)

[listen | peers] = System.argv()
[address, port] = String.split(listen, ":")
{:ok, address} = address |> String.to_charlist() |> :inet.parse_address()

{:ok, listener} =
  :gen_tcp.listen(String.to_integer(port), ip: address, active: false, reuseaddr: true)

spawn_link(fn ->
  Stream.repeatedly(fn ->
    {:ok, socket} = :gen_tcp.accept(listener)
    :gen_tcp.close(socket)
  end)
  |> Stream.run()
end)

{:ok, udp} = :gen_udp.open(0)
payload = :binary.copy("x", 1_000)

peers =
  for peer <- peers do
    {:ok, peer} = peer |> String.to_charlist() |> :inet.parse_address()
    peer
  end

Stream.iterate(0, &(&1 + 1))
|> Enum.each(fn tick ->
  for {peer, n} <- Enum.with_index(peers, 1) do
    packets = round(20 * n * (1.2 + :math.sin(tick / 40 / n)))
    # Nobody listens there, which the kernel may say: counted all the same.
    for _ <- 1..packets, do: :gen_udp.send(udp, peer, 9, payload)
  end

  Process.sleep(250)
end)
